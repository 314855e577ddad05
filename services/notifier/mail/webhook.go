package mail

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usherhq/usher/pkg/egress"
	"github.com/usherhq/usher/pkg/tenant"
)

// Webhooks hands letters to the webhooks of tenants, as gateways of text messages have them. It shares
// its connections out among hosts as those to the mail server are among domains. Safe for concurrent use.
type Webhooks struct {
	client *http.Client
	places *places
	now    func() time.Time
}

// NewWebhooks reaches what the policy admits.
func NewWebhooks(p egress.Policy) *Webhooks {
	return &Webhooks{client: egress.New(egress.Settings{Policy: p}), places: newPlaces(), now: time.Now}
}

// Message is the body of a webhook's request. It is the same whenever a letter is sent again, and ID
// with it: what is repeated after a crash can be told by either.
type Message struct {
	ID           string    `json:"id"` // also the header webhook-id
	Type         Kind      `json:"type"`
	Tenant       string    `json:"tenant"`
	Registration string    `json:"registration"`
	To           Addressee `json:"to"`
	Language     string    `json:"language"`
	Code         string    `json:"code,omitempty"` // none in a notice, nor a link
	Link         string    `json:"link,omitempty"`
	ValidSeconds int       `json:"validSeconds,omitempty"`
	ExpiresAt    string    `json:"expiresAt,omitempty"` // of the account, in a reminder
	Subject      string    `json:"subject"`             // this and the text by the tenant's templates
	Text         string    `json:"text"`
}

// Addressee is whom a message is for.
type Addressee struct {
	Email string `json:"email,omitempty"`
	Phone string `json:"phone,omitempty"` // E.164 where it could be made so
	Name  string `json:"name,omitempty"`
}

func messageOf(l Letter) ([]byte, error) {
	subject, text, _, err := Render(l)
	if err != nil {
		return nil, err
	}
	m := Message{
		ID: l.MessageID, Type: l.Kind, Tenant: l.TenantID, Registration: l.Registration, Language: l.Language, Subject: subject, Text: text,
		To: Addressee{Email: l.To, Phone: l.Phone, Name: l.Name}, Code: l.Code, Link: l.Link,
	}
	if l.Code != "" {
		m.ValidSeconds = int(l.ValidFor.Seconds())
	}
	if l.Kind == Reminder {
		m.ExpiresAt = l.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return json.Marshal(m)
}

// Send returns nil after a 2xx. The table of all else, in which only what can be said of one
// addressee is final:
//
//	4xx, but those below                            final
//	401, 403, 407, 408, 421, 423, 425, 429          temporary: credentials, the session, the rate
//	1xx, 3xx, 5xx, none, a destination refused      temporary
//
// A Retry-After of 429 and 503 is heeded.
func (s *Webhooks) Send(ctx context.Context, l Letter) error {
	body, err := messageOf(l)
	if err != nil {
		return err
	}
	request, err := s.request(ctx, l, body)
	if err != nil {
		return err
	}
	leave, err := s.places.take(ctx, strings.ToLower(request.URL.Hostname()))
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		var refused *egress.RefusedError
		leave(errors.As(err, &refused))
		return fmt.Errorf("%w: webhook: %s", ErrTemporary, egress.Words(err))
	}
	leave(true)
	_, _ = io.Copy(io.Discard, response.Body) // bounded; so that the connection is used again
	_ = response.Body.Close()
	return s.verdict(response)
}

// ofTheAddressee are the answers that say something of one addressee or message, for good. Every other
// can be of the receiver, who is being deployed or has moved.
var ofTheAddressee = []int{http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity}

func (s *Webhooks) verdict(r *http.Response) error {
	switch code := r.StatusCode; {
	case code/100 == 2:
		return nil
	case slices.Contains(ofTheAddressee, code):
		return &PermanentError{Code: code, By: byHTTP}
	default:
		return &NotTakenError{Code: code, By: byHTTP, To: "POST", After: s.retryAfter(r.Header.Get("Retry-After"))}
	}
}

func (s *Webhooks) retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(s.now()), 0)
	}
	return 0
}

// request is signed anew each time: receivers refuse an old time. A secret that cannot be read, or used,
// can be mended while the letter waits.
func (s *Webhooks) request(ctx context.Context, l Letter, body []byte) (*http.Request, error) {
	secret, err := os.ReadFile(l.Webhook.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("%w: read the webhook's secret: %w", ErrTemporary, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.Webhook.URL, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: the webhook's URL cannot be used", ErrTemporary)
	}
	at := strconv.FormatInt(s.now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "usher")
	r.Header["webhook-id"] = []string{l.MessageID} // in lower case, as the specification writes them
	r.Header["webhook-timestamp"] = []string{at}
	if l.Webhook.Signature == tenant.HMACSHA256 {
		key := bytes.TrimSpace(secret)
		if len(key) < shortestSecret {
			return nil, fmt.Errorf("%w: the webhook's secret has less than %d bytes", ErrTemporary, shortestSecret)
		}
		r.Header.Set(l.Webhook.Header, "sha256="+hex.EncodeToString(sign(key, body)))
		return r, nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(bytes.TrimSpace(secret)), "whsec_"))
	if err != nil || len(key) < shortestSecret {
		return nil, fmt.Errorf("%w: the webhook's secret is not whsec_ and the base64 of at least %d bytes", ErrTemporary, shortestSecret)
	}
	signature := sign(key, []byte(l.MessageID+"."+at+"."), body)
	r.Header["webhook-signature"] = []string{"v1," + base64.StdEncoding.EncodeToString(signature)}
	return r, nil
}

// shortestSecret is that of Standard Webhooks.
const shortestSecret = 24

func sign(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, p := range parts {
		mac.Write(p)
	}
	return mac.Sum(nil)
}
