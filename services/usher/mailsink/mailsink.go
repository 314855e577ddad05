// Package mailsink is the mail server of a developer's machine: it takes every mail, keeps it
// in a directory, and shows it over HTTP.
package mailsink

import (
	"bufio"
	"bytes"
	"context"
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

	"github.com/usherhq/usher/pkg/group"
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
	file     *os.File // a mail on each line; one that was forgotten is a line of blanks
	listener net.Listener
	server   *smtp.Server
	writes   *group.Group[kept, struct{}]

	mu   sync.Mutex
	to   map[string][]span // by address in lower case
	size int64             // of what is kept
}

// span is where a mail is in the file.
type span struct {
	offset int64
	length int
}

// together bounds the mails that share one write to the disk.
const together = 256

const largestMail = 1 << 20

// Start is StartOn a free port of the loopback.
func Start(dir string) (*Sink, error) { return StartOn("127.0.0.1:0", dir) }

// StartOn listens on an address. Mails are in dir/mails.ndjson, on disk before
// they are acknowledged; those of an earlier run are there again.
func StartOn(address, dir string) (*Sink, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make mail directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "mails.ndjson"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open mails: %w", err)
	}
	s := &Sink{file: file, to: map[string][]span{}}
	s.writes = group.New(0, together, s.write)
	if err := s.load(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if s.listener, err = net.Listen("tcp", address); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for mail: %w", err), file.Close())
	}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{sink: s}, nil }))
	s.server.Domain, s.server.MaxMessageBytes, s.server.EnableSMTPUTF8 = "localhost", largestMail, true
	s.server.ErrorLog = log.New(io.Discard, "", 0) // a client that is killed is nobody's error
	go func() { _ = s.server.Serve(s.listener) }()
	return s, nil
}

// load finds the mails of earlier runs. A last line that a kill cut short was never
// acknowledged; it is cut off.
func (s *Sink) load() error {
	for lines := bufio.NewReader(s.file); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return s.file.Truncate(s.size)
		}
		if err != nil {
			return fmt.Errorf("read mails: %w", err)
		}
		at := span{s.size, len(line)}
		s.size += int64(len(line))
		if blank(line) {
			continue
		}
		var m struct{ To string }
		if err := json.Unmarshal(line, &m); err != nil {
			return errors.New("read mails: a line is not JSON")
		}
		s.add(m.To, at)
	}
}

// add puts a mail that is kept into the index; the caller holds the lock, or is alone.
func (s *Sink) add(to string, at span) {
	to = strings.ToLower(to)
	s.to[to] = append(s.to[to], at)
	s.size = max(s.size, at.offset+int64(at.length))
}

func blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

// Forget overwrites the mails of a registration: those whose Message-ID begins with it.
func (s *Sink) Forget(_ context.Context, registration string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for to, spans := range s.to {
		kept := spans[:0:0]
		for _, at := range spans {
			forgotten, err := s.overwrite(at, registration)
			if err != nil {
				return fmt.Errorf("forget mails: %w", err)
			}
			if !forgotten {
				kept = append(kept, at)
			}
		}
		if s.to[to] = kept; len(kept) == 0 {
			delete(s.to, to)
		}
	}
	return s.file.Sync()
}

// overwrite puts blanks in the place of a mail, if it is of the registration.
func (s *Sink) overwrite(at span, registration string) (done bool, err error) {
	line := make([]byte, at.length)
	if _, err := s.file.ReadAt(line, at.offset); err != nil {
		return false, err
	}
	var m Mail
	if err := json.Unmarshal(line, &m); err != nil {
		return false, errors.New("a line is not JSON")
	}
	if !strings.HasPrefix(strings.TrimPrefix(m.Headers["Message-Id"], "<"), registration+".") {
		return false, nil
	}
	_, err = s.file.WriteAt(bytes.Repeat([]byte{' '}, at.length-1), at.offset)
	return true, err
}

// Addr is where the sink listens.
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Close stops the server.
func (s *Sink) Close() error { return errors.Join(s.server.Close(), s.file.Close()) }

// kept is a mail on its way to the disk.
type kept struct {
	to   string
	line []byte
}

// keep returns once the mail is on disk. Mails that come together share the wait for it.
func (s *Sink) keep(m Mail) error {
	line, err := json.Marshal(m)
	if err == nil {
		_, err = s.writes.Do(context.Background(), kept{m.To, append(line, '\n')})
	}
	return err
}

// end is where the next mail goes. Only write moves it, and runs once at a time.
func (s *Sink) end() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// write keeps all of the mails, or none.
func (s *Sink) write(_ context.Context, mails []kept) []group.Result[struct{}] {
	results := make([]group.Result[struct{}], len(mails))
	var lines []byte
	for _, m := range mails {
		lines = append(lines, m.line...)
	}
	_, err := s.file.WriteAt(lines, s.end())
	if err == nil {
		err = s.file.Sync()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		err = errors.Join(err, s.file.Truncate(s.size))
	}
	for i, m := range mails {
		if results[i].Err = err; err == nil {
			s.add(m.to, span{s.size, len(m.line)})
		}
	}
	return results
}

// each gives the mails to an address, or all for "", as lines of JSON, oldest first.
func (s *Sink) each(to string, give func(line []byte) error) error {
	s.mu.Lock()
	size, spans := s.size, slices.Clone(s.to[strings.ToLower(to)])
	s.mu.Unlock()
	if to == "" {
		for lines := bufio.NewReader(io.NewSectionReader(s.file, 0, size)); ; {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err == nil && !blank(line) {
				err = give(line)
			}
			if err != nil {
				return err
			}
		}
	}
	for _, at := range spans {
		line := make([]byte, at.length)
		if _, err := s.file.ReadAt(line, at.offset); err != nil {
			return fmt.Errorf("read mail: %w", err)
		}
		if err := give(line); err != nil {
			return err
		}
	}
	return nil
}

// Mails returns the mails to an address, or all for "", oldest first.
func (s *Sink) Mails(to string) (mails []Mail, err error) {
	err = s.each(to, func(line []byte) error {
		var m Mail
		if err := json.Unmarshal(line, &m); err != nil {
			return errors.New("read mails: a line is not JSON")
		}
		mails = append(mails, m)
		return nil
	})
	return mails, err
}

// ServeHTTP answers GET /dev/mail?to=ADDRESS: an array, oldest first. The + of a tag need not be
// escaped: no address has a space.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	separator := "["
	to := strings.ReplaceAll(r.URL.Query().Get("to"), " ", "+")
	err := s.each(to, func(line []byte) error {
		_, err := io.WriteString(w, separator+string(bytes.TrimSpace(line)))
		separator = ","
		return err
	})
	if err != nil {
		panic(http.ErrAbortHandler) // half an array is on its way
	}
	if separator == "[" {
		_, _ = io.WriteString(w, separator)
	}
	_, _ = io.WriteString(w, "]\n")
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
