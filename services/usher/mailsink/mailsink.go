// Package mailsink is the mail server of a developer's machine: it takes every mail, keeps it
// in a directory, and shows it over HTTP.
package mailsink

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Mail is one mail as /dev/mail shows it.
type Mail struct {
	To         string            `json:"to"`
	From       string            `json:"from"`
	Subject    string            `json:"subject"`
	Text       string            `json:"text"`
	HTML       string            `json:"html"`
	Headers    map[string]string `json:"headers"`
	ReceivedAt time.Time         `json:"receivedAt"`
}

// Sink is a running mail server. Safe for concurrent use.
type Sink struct {
	file     *os.File
	listener net.Listener
	server   *smtp.Server

	mu    sync.Mutex
	mails []Mail
}

const largestMail = 1 << 20

// Start listens on a free port of the loopback. Mails are in dir/mails.ndjson, on disk before
// they are acknowledged; those of an earlier run are there again.
func Start(dir string) (*Sink, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make mail directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "mails.ndjson"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open mails: %w", err)
	}
	s := &Sink{file: file}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for mail: %w", err), file.Close())
	}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{sink: s}, nil }))
	s.server.Domain, s.server.MaxMessageBytes, s.server.EnableSMTPUTF8 = "localhost", largestMail, true
	s.server.ErrorLog = log.New(io.Discard, "", 0) // a client that is killed is nobody's error
	go func() { _ = s.server.Serve(s.listener) }()
	return s, nil
}

// load reads the mails of earlier runs. A last line that a kill cut short was never
// acknowledged; it is cut off.
func (s *Sink) load() error {
	raw, err := io.ReadAll(s.file)
	if err != nil {
		return fmt.Errorf("read mails: %w", err)
	}
	end := bytes.LastIndexByte(raw, '\n') + 1
	for line := range bytes.Lines(raw[:end]) {
		var m Mail
		if err := json.Unmarshal(line, &m); err != nil {
			return errors.New("read mails: a line is not JSON")
		}
		s.mails = append(s.mails, m)
	}
	return s.file.Truncate(int64(end))
}

// Addr is where the sink listens.
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Close stops the server.
func (s *Sink) Close() error { return errors.Join(s.server.Close(), s.file.Close()) }

func (s *Sink) keep(m Mail) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.file.Write(append(line, '\n')); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.mails = append(s.mails, m)
	return nil
}

// ServeHTTP answers GET /dev/mail?to=ADDRESS: an array, oldest first.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("to")
	s.mu.Lock()
	found := slices.DeleteFunc(slices.Clone(s.mails), func(m Mail) bool { return to != "" && !strings.EqualFold(m.To, to) })
	s.mu.Unlock()
	if found == nil {
		found = []Mail{}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(found)
}

// session is one SMTP connection.
type session struct {
	sink *Sink
	from string
	to   []string
}

func (s *session) Reset()        { s.from, s.to = "", nil }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

// Data keeps the mail before its 250.
func (s *session) Data(r io.Reader) error {
	m, err := read(r)
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: "not a mail"}
	}
	for _, to := range s.to {
		m.To, m.From, m.ReceivedAt = to, s.from, time.Now().UTC()
		if err := s.sink.keep(m); err != nil {
			return &smtp.SMTPError{Code: 451, Message: "mail not kept"}
		}
	}
	return nil
}

func read(r io.Reader) (Mail, error) {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return Mail{}, err
	}
	m := Mail{Headers: map[string]string{}}
	words := new(mime.WordDecoder)
	for name, values := range msg.Header {
		value, err := words.DecodeHeader(strings.Join(values, ", "))
		if err != nil {
			value = strings.Join(values, ", ")
		}
		m.Headers[name] = value
	}
	m.Subject = m.Headers["Subject"]
	return m, m.readPart(msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), msg.Body)
}

// readPart fills Text and HTML from a part and the parts within it.
func (m *Mail) readPart(contentType, encoding string, body io.Reader) error {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = "text/plain"
	}
	if strings.HasPrefix(media, "multipart/") {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := m.readPart(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p); err != nil {
				return err
			}
		}
	}
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	switch media {
	case "text/plain":
		m.Text += text
	case "text/html":
		m.HTML += text
	}
	return nil
}

// Mails returns every mail, oldest first.
func (s *Sink) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}
