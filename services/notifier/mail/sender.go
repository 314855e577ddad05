package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
	"golang.org/x/net/idna"
)

// How long a server may take: for each of the connection, the greeting, and what follows up to
// the login; and for the mail, from MAIL to its last reply.
const (
	dialTimeout = 10 * time.Second
	mailTimeout = 45 * time.Second
)

const (
	maxIdle = time.Minute     // how long an unused connection is kept
	atOnce  = 5 * time.Second // a connection that is dead shows sooner
)

// Sender hands mails to one SMTP server over connections that it keeps. Safe for concurrent use.
type Sender struct {
	dialer *gomail.Client // opens connections
	mailer *gomail.Client // hands mails over them
	places *places

	mu     sync.Mutex
	idle   []connection // the last was used last
	closed bool
}

type connection struct {
	*smtp.Client
	since time.Time // unused
}

// Dial returns a sender for smtp://host:port, smtp+starttls://user:password@host:port or
// smtps://user:password@host:port. It connects when the first mail is sent. More options come after
// those of the URL.
func Dial(smtpURL string, more ...gomail.Option) (*Sender, error) {
	u, err := url.Parse(smtpURL)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("SMTP_URL is not a URL; give smtp://host:port, smtp+starttls://… or smtps://…")
	}
	options, err := optionsOf(u)
	if err != nil {
		return nil, err
	}
	options = append(options, more...)
	s := &Sender{places: newPlaces()}
	if s.dialer, err = gomail.NewClient(u.Hostname(), append(slices.Clone(options), gomail.WithTimeout(dialTimeout))...); err != nil {
		return nil, fmt.Errorf("set up SMTP client: %w", err)
	}
	if s.mailer, err = gomail.NewClient(u.Hostname(), append(slices.Clone(options), gomail.WithTimeout(mailTimeout))...); err != nil {
		return nil, fmt.Errorf("set up SMTP client: %w", err)
	}
	return s, nil
}

func optionsOf(u *url.URL) ([]gomail.Option, error) {
	options := []gomail.Option{gomail.WithHELO("usher.localdomain"), gomail.WithoutNoop(), gomail.WithoutRset()}
	switch u.Scheme {
	case "smtp":
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	case "smtp+starttls":
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case "smtps":
		options = append(options, gomail.WithSSL(), gomail.WithTLSConfig(&tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}))
	default:
		return nil, fmt.Errorf("SMTP_URL: scheme %q is not smtp, smtp+starttls or smtps", u.Scheme)
	}
	if port := u.Port(); port != "" {
		n, err := strconv.Atoi(port)
		if err != nil {
			return nil, errors.New("SMTP_URL: port is not a number")
		}
		options = append(options, gomail.WithPort(n))
	}
	if user := u.User; user != nil {
		password, _ := user.Password()
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(user.Username()), gomail.WithPassword(password))
	}
	return options, nil
}

// Send returns nil after the server's 250, a PermanentError where the address is refused for good,
// a BusyError where it was not tried, and an error that wraps ErrTemporary otherwise.
func (s *Sender) Send(ctx context.Context, l Letter) error {
	m, err := Compose(l)
	if err != nil {
		return err
	}
	domain := l.To[strings.LastIndexByte(l.To, '@')+1:]
	leave, err := s.places.take(ctx, strings.ToLower(domain))
	if err != nil {
		return err
	}
	answered := false
	defer func() { leave(answered) }()
	r, taken := s.send(ctx, m)
	answered = taken || r.code > 0 || r.command == connecting
	if taken {
		return nil
	}
	return r.error()
}

// send uses a connection that is open, or opens one. Where the server has closed the open one
// before it was given the mail, a new one is tried at once.
func (s *Sender) send(ctx context.Context, m *gomail.Msg) (r refusal, taken bool) {
	if c, ok := s.reuse(); ok {
		began := time.Now()
		r, taken = s.hand(c, m)
		if taken || !r.notTaken() || r.code > 0 && r.code != 421 || time.Since(began) > atOnce {
			return r, taken
		}
	}
	c, err := s.dialer.DialToSMTPClientWithContext(ctx)
	if err != nil {
		r := refusal{command: connecting}
		var reply *textproto.Error
		if errors.As(err, &reply) {
			r.code = reply.Code
		}
		return r, false
	}
	return s.hand(c, m)
}

// hand gives the server the mail, and keeps the connection where it can be used again: a refused
// recipient leaves it as it was.
func (s *Sender) hand(c *smtp.Client, m *gomail.Msg) (r refusal, taken bool) {
	err := s.mailer.SendWithSMTPClient(c, m)
	if err != nil && !m.IsDelivered() {
		r = refusalOf(err)
	}
	if err == nil || r.command == rcptTo && r.code > 0 && r.code != 421 {
		s.keep(c)
	} else {
		_ = c.Close()
	}
	return r, m.IsDelivered()
}

func (s *Sender) reuse() (*smtp.Client, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = slices.DeleteFunc(s.idle, func(c connection) bool {
		old := time.Since(c.since) > maxIdle
		if old {
			_ = c.Close()
		}
		return old
	})
	if len(s.idle) == 0 {
		return nil, false
	}
	last := len(s.idle) - 1
	c := s.idle[last]
	s.idle = s.idle[:last]
	return c.Client, true
}

func (s *Sender) keep(c *smtp.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return
	}
	s.idle = append(s.idle, connection{c, time.Now()})
}

// Close ends the connections that are not in use, and the others after their mail. It does not wait.
func (s *Sender) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.idle {
		_ = c.Close()
	}
	s.idle = nil
	return nil
}

// ascii writes an address's domain in punycode.
func ascii(address string) (string, error) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return "", errors.New("address has no @")
	}
	domain, err := idna.Lookup.ToASCII(address[i+1:])
	if err != nil {
		return "", errors.New("address has no valid domain")
	}
	return address[:i+1] + domain, nil
}
