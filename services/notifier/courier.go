package notifier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/notifier/mail"
)

const (
	giveUpAfter = 3 * 24 * time.Hour // from the letter's writing, while its server only says "not now"
	fresh       = time.Minute        // a first letter so young has no other beside it
	tenantWait  = time.Minute        // until a letter of a tenant that is not configured is tried again
	markTries   = 5
)

// waits between the tries of one letter; the last repeats.
var waits = []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour}

// handle gets a letter, as it is stored, sends it where it is due, and tells of it. A letter is
// marked after the server's 250, and where that fails the mark is repeated, not the mail: only the
// end of the process between the two can repeat it, with the same Message-ID and the same code.
func (s *service) handle(ctx context.Context, id string, get func() (store.Stored[letter], error)) (events.Event, error) {
	done, taken, err := s.desk.take(id)
	if err != nil {
		return nil, err
	}
	defer func() { done(taken) }()
	l, err := get()
	if err != nil {
		return nil, err
	}
	if l.Value.State == pending && !taken {
		l, taken, err = s.try(ctx, l)
	}
	if taken && err == nil {
		l, err = s.mark(ctx, l, func(l *letter) {
			l.State, l.SentAt, l.Attempts, l.Answer = sent, s.now().UnixMilli(), l.Attempts+1, s.acceptance(l.Tenant)
		})
		taken = err != nil
	}
	if err != nil {
		return nil, err
	}
	return l.Value.event(), nil
}

// try sends a letter that is pending. taken means that the server has it and that it is to be
// marked; every other end of the letter is stored. What must wait is parked.
func (s *service) try(ctx context.Context, l store.Stored[letter]) (_ store.Stored[letter], taken bool, err error) {
	if due := time.UnixMilli(l.Value.NextTry); s.now().Before(due) {
		return l, false, bus.Later(due)
	}
	end, code, err := s.fate(ctx, l.Value)
	if err != nil {
		return l, false, err
	}
	if end != pending {
		l, err = s.mark(ctx, l, func(l *letter) { l.close(end, code) })
		return l, false, err
	}
	err = s.send(ctx, l.Value)
	var (
		permanent *mail.PermanentError
		busy      *mail.BusyError
	)
	switch {
	case err == nil:
		return l, true, nil
	case errors.As(err, &permanent):
		l, err = s.mark(ctx, l, func(l *letter) {
			l.State, l.Code, l.Answer, l.Attempts = refused, permanent.Reason(), permanent.Answer(), l.Attempts+1
		})
	case errors.As(err, &busy):
		l, err = s.again(ctx, l, busy.At, 0, l.Value.Answer)
	case errors.Is(err, mail.ErrTemporary):
		s.log.WarnContext(ctx, "mail not taken yet", "letter", l.ID, "attempt", l.Value.Attempts+1, "error", err)
		l, err = s.again(ctx, l, s.now().Add(wait(l.Value.Attempts, err)), 1, answerOf(err))
	}
	return l, false, err
}

// again counts the try, if it was one, and parks the letter until at, or gives up.
func (s *service) again(ctx context.Context, l store.Stored[letter], at time.Time, tries int, answer string) (store.Stored[letter], error) {
	l, err := s.mark(ctx, l, func(l *letter) {
		if l.FirstTry == 0 {
			l.FirstTry = s.now().UnixMilli()
		}
		l.Attempts, l.NextTry, l.Answer = l.Attempts+tries, at.UnixMilli(), answer
		if s.now().Sub(time.UnixMilli(l.FirstTry)) > giveUpAfter {
			l.State, l.Code = refused, "NOT_DELIVERED_IN_TIME"
		}
	})
	if err == nil && l.Value.State == pending {
		err = bus.Later(at)
	}
	return l, err
}

// answerOf is what the server answered, without its text.
func answerOf(err error) string {
	var refusal *mail.NotTakenError
	if errors.As(err, &refusal) {
		return refusal.Answer()
	}
	return ""
}

// wait is how long a letter waits after so many tries; longer where the server asks for it.
func wait(tries int, err error) time.Duration {
	d, longest := waits[min(tries, len(waits)-1)], waits[len(waits)-1]
	var refusal *mail.NotTakenError
	if errors.As(err, &refusal) {
		d = min(max(d, refusal.After), longest)
	}
	return d
}

// mark changes a letter that is pending, whoever else changed it meanwhile.
func (s *service) mark(ctx context.Context, l store.Stored[letter], change func(*letter)) (store.Stored[letter], error) {
	for range markTries {
		if l.Value.State != pending {
			return l, nil
		}
		changed := l
		change(&changed.Value)
		if changed.Value.notice() && changed.Value.State != pending {
			changed.Value.Recipient = nil
		}
		updated, err := s.mails.Update(ctx, changed)
		if err == nil {
			return updated, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return l, fmt.Errorf("mark letter: %w", err)
		}
		if l, err = s.mails.Get(ctx, l.ID); err != nil {
			return l, fmt.Errorf("read letter again: %w", err)
		}
	}
	return l, fmt.Errorf("mark letter: %w", store.ErrConflict)
}

// fate is pending where the letter is still to be sent, else how it ends unsent.
func (s *service) fate(ctx context.Context, l letter) (state, string, error) {
	if l.notice() {
		gone, err := s.entombed(ctx, l.Registration)
		if gone {
			return erased, "", err
		}
		return pending, "", err
	}
	if l.Cause == causeCreated && l.Recipient != nil && s.now().Sub(time.UnixMilli(l.FirstTry)) < fresh {
		return pending, "", nil
	}
	all, err := s.lettersOf(ctx, l.Registration)
	if err != nil {
		return "", "", err
	}
	end, code := l.fate(all, s.now())
	return end, code, nil
}

// acceptance is the answer of a server that took a letter.
func (s *service) acceptance(id string) string {
	if t, known := s.config.Tenant(id); known && t.Delivery.By == tenant.ByWebhook {
		return "HTTP 2xx"
	}
	return "250"
}

func (s *service) send(ctx context.Context, l letter) error {
	t, known := s.config.Tenant(l.Tenant)
	if !known {
		s.log.WarnContext(ctx, "letter waits for its tenant to be configured", "letter", l.id())
		return bus.Later(s.now().Add(tenantWait))
	}
	to, err := s.open(l)
	if err != nil {
		return err
	}
	m := mail.Letter{
		Kind: l.kind(), ExpiresAt: time.UnixMilli(l.ExpiresAt), TenantID: l.Tenant, Registration: l.Registration, Phone: to.Phone,
		Tenant: t.Name, From: t.Mail.From, FromName: t.Mail.FromName, Language: t.Mail.Language,
		To: to.Email, Name: to.Name,
		ValidFor: time.Duration(l.Validity) * time.Second, MessageID: l.messageID(), Date: s.now(),
	}
	if own, ok := t.Mail.Template(string(m.Kind)); ok {
		m.Template = &own
	}
	if t.Delivery.By == tenant.ByWebhook {
		m.Webhook = &t.Delivery
	}
	if !l.notice() {
		if m.Code, err = s.keys.ActivationCode(l.Registration, l.Epoch); err != nil {
			return err
		}
		link := s.public.JoinPath("activate", l.Tenant, l.Registration)
		link.Fragment = m.Code
		m.Link = link.String()
	}
	return s.sender.Send(ctx, m)
}
