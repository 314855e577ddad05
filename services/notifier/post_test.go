package notifier

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	netmail "net/mail"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// post is a mail server with faults, reached without a network so that its time can be fake.
type post struct {
	server *smtp.Server
	dialed chan net.Conn
	ending chan struct{}

	onAuth func() error
	onRcpt func(to string, asked int) error               // asked: how often the server heard this recipient
	onData func(to string, given int, c *smtp.Conn) error // given: how often it was given a mail to it

	mu    sync.Mutex
	asked map[string]int
	mails map[string][]taken
}

// taken is a mail that the server took.
type taken struct {
	messageID, code string
	at              time.Time
}

func startPost(t *testing.T, tlsConfig *tls.Config) *post {
	p := &post{dialed: make(chan net.Conn), ending: make(chan struct{}), asked: map[string]int{}, mails: map[string][]taken{}}
	p.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &delivery{post: p, conn: c}, nil }))
	p.server.Domain, p.server.TLSConfig = "post.example", tlsConfig
	p.server.ErrorLog = log.New(io.Discard, "", 0)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = p.server.Serve(p)
	}()
	t.Cleanup(func() {
		close(p.ending)
		_ = p.server.Close()
		<-served
	})
	return p
}

// Dial, Accept, Close and Addr join client and server by pipes.
func (p *post) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.dialed <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *post) Accept() (net.Conn, error) {
	c, open := <-p.dialed
	if !open {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p *post) Close() error {
	close(p.dialed)
	return nil
}

func (p *post) Addr() net.Addr { return &net.TCPAddr{} }

// hang answers so late that every client has gone.
func (p *post) hang() {
	select {
	case <-time.After(10 * time.Minute):
	case <-p.ending:
	}
}

// to returns the mails that were taken for an address.
func (p *post) to(address string) []taken {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mails[address]
}

type delivery struct {
	post *post
	conn *smtp.Conn
	to   string
}

func (*delivery) Reset()        {}
func (*delivery) Logout() error { return nil }

func (d *delivery) AuthMechanisms() []string {
	if d.post.onAuth == nil {
		return nil
	}
	return []string{sasl.Plain}
}

func (d *delivery) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "usher" || password != "secret" {
			return smtp.ErrAuthFailed
		}
		return d.post.onAuth()
	}), nil
}

func (d *delivery) Mail(string, *smtp.MailOptions) error {
	if _, encrypted := d.conn.TLSConnectionState(); d.post.server.TLSConfig != nil && !encrypted {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "encrypt first"}
	}
	return nil
}

func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = to
	p := d.post
	p.mu.Lock()
	p.asked[to]++
	asked := p.asked[to]
	p.mu.Unlock()
	if p.onRcpt == nil {
		return nil
	}
	return p.onRcpt(to, asked)
}

var codeLine = regexp.MustCompile(`(?m)^[A-Z2-7]{16}\r?$`)

func (d *delivery) Data(r io.Reader) error {
	m, err := netmail.ReadMessage(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		return err
	}
	p := d.post
	p.mu.Lock()
	p.mails[d.to] = append(p.mails[d.to], taken{m.Header.Get("Message-ID"), strings.TrimSpace(codeLine.FindString(string(body))), time.Now()})
	given := len(p.mails[d.to])
	p.mu.Unlock()
	if p.onData == nil {
		return nil
	}
	return p.onData(d.to, given, d.conn)
}

// certificate makes a server's TLS and a client's that trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"post.example"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots, ServerName: "post.example", MinVersion: tls.VersionTLS12}
}
