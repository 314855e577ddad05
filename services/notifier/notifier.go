// Package notifier sends the mails of a registration: account.created and
// activation.code_issued in, activation.sent or activation.failed out.
package notifier

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/notifier/mail"
)

// Service is the notifier.
var Service = app.Service{Name: events.Notifier, Schemas: []store.Schema{mailSchema}, Run: Run}

// Run sends mail until ctx ends. It needs SMTP_URL, and PUBLIC_URL for the links.
func Run(ctx context.Context, env *app.Env) error {
	sender, err := mail.Dial(env.Getenv("SMTP_URL"))
	if err != nil {
		return err
	}
	defer sender.Close()
	public, err := url.Parse(env.Getenv("PUBLIC_URL"))
	if err != nil || public.Host == "" {
		return fmt.Errorf("PUBLIC_URL is not a URL; give the address of the gateway as applicants reach it")
	}
	s := &service{
		config: env.Config, keys: env.Keys, persons: env.Vault, sender: sender, public: public, now: time.Now,
		mails: store.NewDocs(env.Store, mailSchema, letter.fields),
	}
	return env.Bus.Run(ctx, bus.On(s.onAccountCreated), bus.On(s.onCodeIssued), bus.On(s.onAccountActivated))
}

type persons interface {
	Get(ctx context.Context, tenant, registration string, sequence uint64) (vault.Entry, error)
}

type sender interface {
	Send(ctx context.Context, l mail.Letter) error
}

type service struct {
	config  *tenant.Config
	keys    *keys.Ring
	persons persons
	sender  sender
	public  *url.URL
	now     func() time.Time
	mails   *store.Docs[letter]
}
