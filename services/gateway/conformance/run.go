package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"
)

// Target is an installation with the demonstration configuration. URL and Ops are the bases of
// its two listeners; without Ops cases that need a mail or the public key are not run. Token is
// of an administrator.
type Target struct {
	URL, Ops, Token string
	Client          *http.Client // default one with a timeout of a minute
}

// Result tells what became of a case: Err is nil where every answer was as told; NotRun says
// why it was not asked to the end.
type Result struct {
	Case
	Took   time.Duration
	NotRun string
	Err    error
}

var usual = &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (t Target) client() *http.Client {
	if t.Client == nil {
		return usual
	}
	return t.Client
}

// Run asks the exchanges of a case one after the other, until an answer is not as told.
func (t Target) Run(ctx context.Context, c Case) Result {
	began := time.Now()
	v := &values{target: t, known: map[string]string{}}
	result := Result{Case: c}
	for _, x := range c.exchanges {
		if err := v.exchange(ctx, x); err != nil {
			result.Err = fmt.Errorf("%s: %w", x.title, err)
			break
		}
	}
	if why, is := errors.AsType[notRun](result.Err); is {
		result.NotRun, result.Err = why.Error(), nil
	}
	result.Took = time.Since(began)
	return result
}

func (v *values) exchange(ctx context.Context, x exchange) error {
	ctx, cancel := context.WithTimeout(ctx, patience+time.Minute)
	defer cancel()
	for deadline := time.Now().Add(patience); ; {
		err := v.once(ctx, x)
		_, impossible := errors.AsType[notRun](err)
		if err == nil || impossible || !x.eventually || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

func (v *values) once(ctx context.Context, x exchange) error {
	request, err := v.request(ctx, x)
	if err != nil {
		return err
	}
	response, err := v.target.client().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	c := &comparison{ctx: ctx, values: v, found: map[string]string{}}
	if response.StatusCode != x.status {
		c.differs("status", "is %d, must be %d", response.StatusCode, x.status)
	}
	for _, h := range x.wanted {
		c.text(h.name, h.value, strings.Join(response.Header.Values(h.name), ", "))
	}
	c.body(response.Header.Get("Content-Type"), x.answer, got)
	if len(c.problems) > 0 {
		return fmt.Errorf("%s\nanswer: %d %s", strings.Join(c.problems, "\n"), response.StatusCode, shortened(string(got)))
	}
	maps.Copy(v.known, c.found)
	return nil
}

func (v *values) request(ctx context.Context, x exchange) (*http.Request, error) {
	target, err := v.expand(ctx, x.target)
	if err != nil {
		return nil, err
	}
	body, err := v.expand(ctx, x.body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, x.method, v.target.URL+target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header["User-Agent"] = []string{""} // none, unless the case sends one
	for _, h := range x.sent {
		value, err := v.expand(ctx, h.value)
		if err != nil {
			return nil, err
		}
		switch {
		case value == "":
		case strings.EqualFold(h.name, "Host"):
			request.Host = value
		case strings.EqualFold(h.name, "User-Agent"):
			request.Header.Set(h.name, value)
		default:
			request.Header.Add(h.name, value)
		}
	}
	return request, nil
}
