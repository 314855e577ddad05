package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"golang.org/x/net/idna"
)

// ErrTemporary is wrapped where another try may succeed: no connection, a 4xx, or a reply
// that never came.
var ErrTemporary = errors.New("mail not taken yet")

// PermanentError means that the server will never take this mail. Its text, which may quote
// the address, is left out.
type PermanentError struct{ Code int }

func (e *PermanentError) Error() string { return fmt.Sprintf("mail refused for good, code %d", e.Code) }

// badAddress is the SMTP code for a mailbox name that is not allowed (RFC 5321 §4.2.3).
const badAddress = 553

const sendTimeout = 30 * time.Second

// Sender hands mails to one SMTP server over a few connections that it keeps. Safe for
// concurrent use.
type Sender struct {
	clients chan *client
}

type client struct {
	*gomail.Client
	connected bool
}

const connections = 8

// Dial returns a sender for smtp://host:port, smtp+starttls://user:password@host:port or
// smtps://user:password@host:port. It connects when the first mail is sent.
func Dial(smtpURL string) (*Sender, error) {
	u, err := url.Parse(smtpURL)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("SMTP_URL is not a URL; give smtp://host:port, smtp+starttls://… or smtps://…")
	}
	options, err := optionsOf(u)
	if err != nil {
		return nil, err
	}
	s := &Sender{clients: make(chan *client, connections)}
	for range connections {
		c, err := gomail.NewClient(u.Hostname(), options...)
		if err != nil {
			return nil, fmt.Errorf("set up SMTP client: %w", err)
		}
		s.clients <- &client{Client: c}
	}
	return s, nil
}

func optionsOf(u *url.URL) ([]gomail.Option, error) {
	options := []gomail.Option{gomail.WithTimeout(sendTimeout), gomail.WithHELO("usher.localdomain"), gomail.WithoutNoop()}
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

// Send returns nil after the server's 250, a PermanentError after a 5xx, and an error that
// wraps ErrTemporary otherwise.
func (s *Sender) Send(ctx context.Context, l Letter) error {
	m, err := Compose(l)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	select {
	case c := <-s.clients:
		defer func() { s.clients <- c }()
		return c.send(ctx, m)
	case <-ctx.Done():
		return fmt.Errorf("%w: no connection is free", ErrTemporary)
	}
}

// send reuses the connection; one that turns out dead is replaced once.
func (c *client) send(ctx context.Context, m *gomail.Msg) error {
	reused := c.connected
	err := c.try(ctx, m)
	if err != nil && reused && codeOf(err) == 0 {
		err = c.try(ctx, m)
	}
	return classify(err)
}

func (c *client) try(ctx context.Context, m *gomail.Msg) error {
	if !c.connected {
		if err := c.DialWithContext(ctx); err != nil {
			return err
		}
		c.connected = true
	}
	err := c.Client.Send(m)
	if err != nil {
		c.connected = false
		_ = c.Client.Close()
	}
	return err
}

func codeOf(err error) int {
	var failed *gomail.SendError
	if errors.As(err, &failed) {
		return failed.ErrorCode()
	}
	return 0
}

func classify(err error) error {
	switch code := codeOf(err); {
	case err == nil:
		return nil
	case code >= 500:
		return &PermanentError{Code: code}
	case code > 0:
		return fmt.Errorf("%w: server answered %d", ErrTemporary, code)
	}
	return fmt.Errorf("%w: no answer from the server", ErrTemporary)
}

// Close ends the connections.
func (s *Sender) Close() error {
	for range connections {
		if c := <-s.clients; c.connected {
			_ = c.Client.Close()
		}
	}
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
