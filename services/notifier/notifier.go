// Package notifier sends the mails of a registration: account.created,
// activation.code_issued, activation.reminder_due and account.notice_due in, activation.sent or activation.failed out.
package notifier

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/egress"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/notifier/mail"
)

// Service is the notifier.
var Service = app.Service{Name: events.Notifier, Schemas: []store.Schema{mailSchema}, Run: Run}

// Run sends mail until ctx ends. It needs SMTP_URL, and PUBLIC_URL for the links; USHER_EGRESS_ALLOW
// says which webhooks may be reached beside public ones, NOTIFIER_ADDR where GET /v1/letters is answered.
func Run(ctx context.Context, env *app.Env) error { return RunCaptured(ctx, env, nil) }

// RunCaptured is Run with what the mail server of a developer's machine captures; nil for nothing.
func RunCaptured(ctx context.Context, env *app.Env, captures Captures) error {
	sender, err := mail.Dial(env.Getenv("SMTP_URL"))
	if err != nil {
		return err
	}
	defer sender.Close()
	return RunWith(ctx, env, sender, captures)
}

// Sender hands one mail to its server, or to what else takes messages.
type Sender interface {
	// Send returns nil once the server has taken the mail, a mail.PermanentError where it never
	// will, a mail.BusyError where the mail was not tried, and an error that wraps
	// mail.ErrTemporary where it may be taken later.
	Send(ctx context.Context, l mail.Letter) error
}

// channels sends a letter the way that its tenant has chosen.
type channels struct{ mail, webhook Sender }

func (c channels) Send(ctx context.Context, l mail.Letter) error {
	if l.Webhook != nil {
		return c.webhook.Send(ctx, l)
	}
	return c.mail.Send(ctx, l)
}

// Captures are the mails that a developer's mail server has kept.
type Captures interface {
	// Forget returns once none of a registration's mails is kept any more.
	Forget(ctx context.Context, registration string) error
}

// RunWith is Run with a sender of the caller's and the captures, or nil; it needs PUBLIC_URL.
func RunWith(ctx context.Context, env *app.Env, sender Sender, captures Captures) error {
	public, err := url.Parse(env.Getenv("PUBLIC_URL"))
	if err != nil || public.Host == "" {
		return fmt.Errorf("PUBLIC_URL is not a URL; give the address of the gateway as applicants reach it")
	}
	reachable, err := egress.PolicyOf(env.Getenv)
	if err != nil {
		return err
	}
	s := &service{
		config: env.Config, keys: env.Keys, persons: env.Vault, sender: channels{sender, mail.NewWebhooks(reachable)}, public: public, now: time.Now, log: env.Log, desk: newDesk(),
		mails: store.NewDocs(env.Store, mailSchema, letter.fields), documents: env.Store, captures: captures,
	}
	return s.serve(ctx, env, func(ctx context.Context) error {
		return env.Bus.Run(ctx, bus.On(s.onAccountCreated), bus.On(s.onCodeIssued), bus.On(s.onReminderDue), bus.On(s.onNoticeDue),
			bus.On(s.onAccountActivated), bus.On(s.onRegistrationExpired), bus.On(s.onErasureRequested))
	})
}

// tenants are the configured ones. A reaction takes its tenant once and decides under that version.
type tenants interface {
	Tenant(id string) (*tenant.Tenant, bool)
}

type persons interface {
	Get(ctx context.Context, tenant, registration string, sequence uint64) (vault.Entry, error)
	Delete(ctx context.Context, tenant, registration string, sequence uint64) error
}

// documents can forget for good what was overwritten or deleted.
type documents interface {
	Purge(ctx context.Context) error
}

type service struct {
	config    tenants
	keys      *keys.Ring
	persons   persons
	sender    Sender
	public    *url.URL
	now       func() time.Time
	log       *slog.Logger
	desk      *desk
	mails     *store.Docs[letter]
	documents documents
	captures  Captures // nil where mail leaves for good
}
