package webhooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/usherhq/usher/pkg/egress"
)

// SendTimeout bounds a request to a receiver, with the reading of its answer.
const SendTimeout = 15 * time.Second

// Outcomes of attempts, for metrics.
const (
	outcomeOK          = "delivered"
	outcomeRedirect    = "redirected"
	outcomeClient      = "rejected"
	outcomeServer      = "failed"
	outcomeGone        = "gone"
	outcomeRefused     = "refused" // by the policy of egress
	outcomeUnreachable = "unreachable"
)

// errGivenUp means that an attempt was broken off by us, so that nothing is known of it.
var errGivenUp = errors.New("given up")

// message is what a receiver gets.
type message struct {
	id   string // header webhook-id
	body []byte // CloudEvents JSON
}

// sender makes single requests.
type sender struct{ client *http.Client }

// send delivers a message once. Only an answer of 2xx is a success. Its error is errGivenUp.
func (s sender) send(ctx context.Context, url string, by signer, m message) (Attempt, error) {
	begun := time.Now()
	a := Attempt{At: begun.UnixMilli()}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.body))
	if err != nil {
		a.Error, a.outcome = "the URL cannot be used", outcomeRefused
		return a, nil
	}
	request.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	request.Header.Set("User-Agent", "Usher-Webhooks/1")
	request.Header.Set("webhook-id", m.id)
	request.Header.Set("webhook-timestamp", strconv.FormatInt(begun.Unix(), 10))
	request.Header.Set("webhook-signature", by.sign(m.id, begun, m.body))
	response, err := s.client.Do(request)
	if err == nil {
		a.Status = response.StatusCode
		a.answer = excerpt(response.Body)
		response.Body.Close()
		a.retryAfter = retryAfterOf(response.Header, time.Now())
	}
	a.Duration = time.Since(begun).Milliseconds()
	if ctx.Err() != nil && err != nil {
		return a, errGivenUp
	}
	a.Error, a.outcome = judge(a.Status, err)
	return a, nil
}

const longestExcerpt = 512 // bytes

// excerpt is the beginning of an answer, and reads on a little, so that the connection can be used again.
func excerpt(body io.Reader) string {
	raw, _ := io.ReadAll(io.LimitReader(body, longestExcerpt))
	_, _ = io.Copy(io.Discard, body) // bounded by the client
	return strings.ToValidUTF8(string(raw), "\uFFFD")
}

// judge says what is wrong with an answer, or with its absence, in words; empty where nothing is.
func judge(status int, err error) (words, outcome string) {
	var refused *egress.RefusedError
	switch {
	case errors.As(err, &refused):
		return egress.Words(err), outcomeRefused
	case err != nil:
		return egress.Words(err), outcomeUnreachable
	case status >= 200 && status <= 299:
		return "", outcomeOK
	}
	words = strings.TrimSpace(fmt.Sprintf("the receiver answered %d %s", status, http.StatusText(status)))
	switch {
	case status == http.StatusGone:
		return words, outcomeGone
	case status >= 500:
		return words, outcomeServer
	case status >= 400:
		return words, outcomeClient
	}
	return words + "; redirects are not followed", outcomeRedirect
}
