package notifier

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
	gomail "github.com/wneessen/go-mail"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/keys/keystest"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/notifier/mail"
)

// addressed persons have their registration's id as address.
type addressed struct{}

func (addressed) Delete(context.Context, string, string, uint64) error { return nil }

func (addressed) Get(_ context.Context, _, registration string, _ uint64) (vault.Entry, error) {
	return vault.Entry{Registration: events.Registration{Applicant: events.Applicant{Email: registration, GivenName: "Zoë"}}}, nil
}

// courier is the service in front of a real mail server.
func newCourier(t *testing.T, ring *keys.Ring, p *post, smtpURL string, trust *tls.Config) *service {
	t.Helper()
	options := []gomail.Option{gomail.WithDialContextFunc(p.Dial)}
	if trust != nil {
		options = append(options, gomail.WithTLSConfig(trust))
	}
	sender, err := mail.Dial(smtpURL, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sender.Close() })
	documents := store.NewMemory()
	if err := documents.Ensure(t.Context(), mailSchema); err != nil {
		t.Fatal(err)
	}
	public, _ := url.Parse("https://usher.example")
	return &service{config: tenant.Demo(), keys: ring, persons: addressed{}, sender: sender, public: public,
		now: time.Now, log: slog.New(slog.DiscardHandler), desk: newDesk(), mails: store.NewDocs(documents, mailSchema, letter.fields)}
}

// deliverAll hands account.created of each registration to the courier as the broker does: in
// order, so many at once, what is parked when it is due. It returns the outcomes by registration.
func deliverAll(t *testing.T, s *service, inFlight int, registrations []string) map[string]events.Event {
	var (
		mu       sync.Mutex
		outcomes = map[string]events.Event{}
		all      sync.WaitGroup
	)
	places := make(chan struct{}, inFlight)
	for _, r := range registrations {
		places <- struct{}{}
		all.Go(func() {
			out, err := s.accountOf(t.Context(), r)
			<-places
			for err != nil {
				l, failed := s.mails.Get(t.Context(), r+"/created")
				if failed != nil || !isLater(err) {
					t.Errorf("%s: %v", r, errors.Join(err, failed))
					return
				}
				time.Sleep(time.Until(time.UnixMilli(l.Value.NextTry)))
				out, err = s.accountOf(t.Context(), r)
			}
			mu.Lock()
			defer mu.Unlock()
			outcomes[r] = out
		})
	}
	all.Wait()
	return outcomes
}

func (s *service) accountOf(ctx context.Context, registration string) (events.Event, error) {
	e := events.AccountCreated{Carried: events.Carried{Vault: 7}, Epoch: 1, ValiditySeconds: 86400}
	subject := events.SubjectOf(cloudVault, registration, e)
	return s.onAccountCreated(ctx, bus.In[events.AccountCreated]{Record: events.Record{Subject: subject, Event: e}, Data: e})
}

func addresses(n int, domain string) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("r%d@%s", i, domain))
	}
	return all
}

func newRing(t *testing.T) *keys.Ring {
	t.Helper()
	ring := keystest.Ring(t)
	return ring
}

func refusal450() error {
	return &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "not now"}
}

func TestEveryMailArrivesOnceWhateverTheServerDoes(t *testing.T) {
	ring := newRing(t)
	serverTLS, clientTLS := certificate(t)
	const plain, encrypted = "smtp://post.example", "smtp+starttls://usher:secret@post.example"
	for _, c := range []struct {
		does    string
		url     string
		faults  func(p *post, began time.Time)
		repeats bool // the server drops after DATA
	}{
		{"takes all", plain, func(*post, time.Time) {}, false},
		{"says not now for an hour", plain, func(p *post, began time.Time) {
			p.onRcpt = func(string, int) error {
				if time.Since(began) < time.Hour {
					return refusal450()
				}
				return nil
			}
		}, false},
		{"greylists for five minutes", plain, func(p *post, _ time.Time) {
			first := map[string]time.Time{}
			p.onRcpt = func(to string, asked int) error {
				p.mu.Lock()
				defer p.mu.Unlock()
				if asked == 1 {
					first[to] = time.Now()
				}
				if time.Since(first[to]) < 5*time.Minute {
					return refusal450()
				}
				return nil
			}
		}, false},
		{"refuses our relaying for an hour", plain, func(p *post, began time.Time) {
			p.onRcpt = func(string, int) error {
				if time.Since(began) < time.Hour {
					return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "relaying denied"}
				}
				return nil
			}
		}, false},
		{"drops the connection instead of hearing the recipient", plain, func(p *post, _ time.Time) {
			p.onRcpt = func(_ string, asked int) error {
				if asked == 1 {
					panic("the connection is gone") // go-smtp closes it
				}
				return nil
			}
		}, false},
		{"drops some connections after it has taken the mail", plain, func(p *post, _ time.Time) {
			p.onData = func(to string, given int, c *smtp.Conn) error {
				if given == 1 && strings.HasPrefix(to, "r3") {
					_ = c.Conn().Close()
				}
				return nil
			}
		}, true},
		{"closes the connection after each mail", plain, func(p *post, _ time.Time) {
			p.onData = func(_ string, _ int, c *smtp.Conn) error {
				time.AfterFunc(time.Millisecond, func() { _ = c.Conn().Close() })
				return nil
			}
		}, false},
		{"takes twenty seconds for each mail", plain, func(p *post, _ time.Time) {
			p.onData = func(string, int, *smtp.Conn) error {
				time.Sleep(20 * time.Second)
				return nil
			}
		}, false},
		{"requires TLS, and a login that it refuses for an hour", encrypted, func(p *post, began time.Time) {
			p.onAuth = func() error {
				if time.Since(began) < time.Hour {
					return smtp.ErrAuthFailed
				}
				return nil
			}
		}, false},
	} {
		t.Run(c.does, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ofServer, ofClient *tls.Config
				if c.url == encrypted {
					ofServer, ofClient = serverTLS, clientTLS
				}
				p := startPost(t, ofServer)
				c.faults(p, time.Now())
				began := time.Now()
				all := addresses(60, "good.example")
				outcomes := deliverAll(t, newCourier(t, ring, p, c.url, ofClient), 256, all)
				t.Logf("all arrived after %v", time.Since(began))
				for _, r := range all {
					code, err := ring.ActivationCode(r, 1)
					if _, ok := outcomes[r].(events.ActivationSent); !ok || err != nil {
						t.Fatalf("%s: %v, %v", r, outcomes[r], err)
					}
					mails := p.to(r)
					if len(mails) != 1 && (!c.repeats || len(mails) != 2) {
						t.Fatalf("%s has %d mails", r, len(mails))
					}
					if gap := mails[len(mails)-1].at.Sub(mails[0].at); len(mails) > 1 && gap < waits[0] {
						t.Fatalf("%s was sent again after %v", r, gap)
					}
					for _, m := range mails {
						if want := (taken{"<" + r + ".created@usher>", code, m.at}); m != want {
							t.Fatalf("mail %v, want %v", m, want)
						}
					}
				}
			})
		})
	}
}

// onTime is within which good mails must be away, whatever those before them meet.
const onTime = 5 * time.Second

func TestDeadAddressesDoNotDelayGoodOnes(t *testing.T) {
	ring := newRing(t)
	for _, c := range []struct {
		is      string
		deads   string // how mails to dead.example end; "" for sent
		refusal func(p *post, began time.Time) error
	}{
		{"refuses for good", "SMTP_550", func(*post, time.Time) error {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
		}},
		{"refuses for an hour", "", func(_ *post, began time.Time) error {
			if time.Since(began) < time.Hour {
				return refusal450()
			}
			return nil
		}},
		{"hangs for ten minutes", "", func(p *post, began time.Time) error {
			if time.Since(began) < 10*time.Minute {
				p.hang()
				return refusal450()
			}
			return nil
		}},
	} {
		t.Run("a domain that "+c.is, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startPost(t, nil)
				began := time.Now()
				p.onRcpt = func(to string, _ int) error {
					if strings.HasSuffix(to, "@dead.example") {
						return c.refusal(p, began)
					}
					time.Sleep(10 * time.Millisecond)
					return nil
				}
				dead, good := addresses(300, "dead.example"), addresses(700, "good.example")
				outcomes := deliverAll(t, newCourier(t, ring, p, "smtp://post.example", nil), 256, append(dead, good...))
				latest := time.Duration(0)
				for _, r := range good {
					if len(p.to(r)) != 1 {
						t.Fatalf("%s has %d mails", r, len(p.to(r)))
					}
					latest = max(latest, p.to(r)[0].at.Sub(began))
				}
				if t.Logf("the last good mail after %v", latest); latest > onTime {
					t.Errorf("the last good mail came after %v", latest)
				}
				for _, r := range dead {
					failed, _ := outcomes[r].(events.ActivationFailed)
					if outcomes[r] == nil || failed.Code != c.deads {
						t.Fatalf("%s: %v", r, outcomes[r])
					}
				}
			})
		})
	}
}
