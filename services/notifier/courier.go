package notifier

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/services/notifier/mail"
)

// giveUpAfter is how long a letter is tried while its server only says "not now".
const giveUpAfter = 3 * 24 * time.Hour

// waits between the tries of one letter; the last repeats.
var waits = []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour}

// deliver sends a letter that is pending and tells of it. Only a crash between the server's
// 250 and the mark below can repeat a mail, with the same Message-ID and the same code. A
// temporary failure parks the letter.
func (s *service) deliver(ctx context.Context, l store.Stored[letter]) (events.Event, error) {
	if l.Value.State != pending {
		return l.Value.event(), nil
	}
	err := s.send(ctx, l.Value)
	var permanent *mail.PermanentError
	switch {
	case err == nil:
		l.Value.State = sent
	case errors.As(err, &permanent):
		l.Value.State, l.Value.Code = refused, "SMTP_"+strconv.Itoa(permanent.Code)
	case !errors.Is(err, mail.ErrTemporary):
		return nil, err
	default:
		return s.again(ctx, l)
	}
	l.Value.Attempts++
	_, err = s.mails.Update(ctx, l)
	if errors.Is(err, store.ErrConflict) {
		if l, err = s.mails.Get(ctx, l.ID); err == nil && l.Value.State == pending {
			return nil, fmt.Errorf("mark letter: %w", store.ErrConflict)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("mark letter: %w", err)
	}
	return l.Value.event(), nil
}

// again counts the try and parks the letter until the next, or gives up.
func (s *service) again(ctx context.Context, l store.Stored[letter]) (events.Event, error) {
	now := s.now()
	if l.Value.FirstTry == 0 {
		l.Value.FirstTry = now.UnixMilli()
	}
	wait := waits[min(l.Value.Attempts, len(waits)-1)]
	l.Value.Attempts++
	if now.Sub(time.UnixMilli(l.Value.FirstTry)) > giveUpAfter {
		l.Value.State, l.Value.Code = refused, "NOT_DELIVERED_IN_TIME"
	}
	if _, err := s.mails.Update(ctx, l); err != nil {
		return nil, fmt.Errorf("count try: %w", err)
	}
	if l.Value.State == refused {
		return l.Value.event(), nil
	}
	return nil, bus.Later(now.Add(wait))
}

func (s *service) send(ctx context.Context, l letter) error {
	t, known := s.config.Tenant(l.Tenant)
	if !known {
		return fmt.Errorf("tenant is not in configuration %s", s.config.Version)
	}
	if l.Recipient == nil {
		return &mail.PermanentError{Code: 0}
	}
	to, err := s.open(l)
	if err != nil {
		return err
	}
	code, err := s.keys.ActivationCode(l.Registration, l.Epoch)
	if err != nil {
		return err
	}
	link := s.public.JoinPath("activate", l.Tenant, l.Registration)
	link.Fragment = code
	return s.sender.Send(ctx, mail.Letter{
		Tenant: t.Name, From: t.Mail.From, FromName: t.Mail.FromName, Language: t.Mail.Language,
		To: to.Email, Name: to.Name, Code: code, Link: link.String(),
		ValidFor: time.Duration(l.Validity) * time.Second, MessageID: l.messageID(), Date: s.now(),
	})
}
