package usher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// access is who asks the gateway or the ledger.
type access struct {
	Token     string `env:"USHER_TOKEN,USHER_DEV_TOKEN" help:"Bearer token. Others can see it among the processes: prefer --token-file."`
	TokenFile string `env:"USHER_TOKEN_FILE" placeholder:"FILE" help:"File of the bearer token; it counts before --token."`
	Tenant    string `env:"USHER_TENANT" help:"Needed unless the token has one tenant only."`
}

// ledgerDesk is the ledger as a command reaches it.
type ledgerDesk struct {
	Ops string `env:"USHER_OPS" default:"http://127.0.0.1:8081" help:"The ledger."`
	access
}

// gatewayDesk is the gateway as a command reaches it.
type gatewayDesk struct {
	URL string `env:"USHER_URL" default:"http://127.0.0.1:8080" help:"The gateway."`
	access
}

// askTimeout bounds one request and its answer.
const askTimeout = 30 * time.Second

// ask sends a request and decodes its answer. A refusal is a *refusalError.
func (d ledgerDesk) ask(ctx context.Context, method, path string, body, into any) error {
	return d.access.ask(ctx, d.peer(), method, path, body, into)
}

func (d ledgerDesk) peer() peer { return peer{"the ledger", "--ops", d.Ops} }

func (d gatewayDesk) peer() peer { return peer{"the gateway", "--url", d.URL} }

// ask sends a request and decodes its answer. A refusal is a *refusalError.
func (d gatewayDesk) ask(ctx context.Context, method, path string, body, into any) error {
	return d.access.ask(ctx, d.peer(), method, path, body, into)
}

// peer is whom a command asks, and the flag that says where it is.
type peer struct{ name, flag, base string }

// refusalError is an answer that is no success, in the words of whom was asked.
type refusalError struct {
	who        string
	Status     int
	Detail     string
	RetryAfter time.Duration // 0 where the answer has none
}

func (r *refusalError) Error() string {
	text := fmt.Sprintf("%s answers %d: %s", r.who, r.Status, r.Detail)
	if r.Status == http.StatusUnauthorized {
		text += "; check --token-file, or USHER_TOKEN"
	}
	return text
}

func (a access) ask(ctx context.Context, p peer, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var sent io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(raw)
	}
	response, err := a.send(ctx, p, method, path, "application/json", sent)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return errors.New("the answer of " + p.name + " cannot be read")
	}
	return nil
}

// send returns an answer of success, whose body the caller closes; any other is a *refusalError.
func (a access) send(ctx context.Context, p peer, method, path, media string, body io.Reader) (*http.Response, error) {
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(p.base, "/")+path, body)
	if err != nil {
		return nil, fmt.Errorf("%s is not the address of %s; give one as http://127.0.0.1:8080", p.flag, p.name)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", media)
	if a.Tenant != "" {
		request.Header.Set("X-Tenant-ID", a.Tenant)
	}
	response, err := http.DefaultClient.Do(request)
	var away *url.Error
	switch {
	case errors.As(err, &away): // its words quote the query
		return nil, fmt.Errorf("%s does not answer: %w; is it running, and is %s right?", p.name, away.Err, p.flag)
	case err != nil:
		return nil, err
	case response.StatusCode/100 == 2:
		return response, nil
	}
	defer response.Body.Close()
	var problem struct{ Detail string }
	_ = json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&problem)
	if problem.Detail == "" {
		problem.Detail = http.StatusText(response.StatusCode)
	}
	return nil, &refusalError{p.name, response.StatusCode, problem.Detail, retryAfter(response.Header)}
}

// retryAfter is a Retry-After in seconds, the only form that the gateway and the ledger use.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func (a access) token() (string, error) {
	token := a.Token
	if a.TokenFile != "" {
		raw, err := os.ReadFile(a.TokenFile)
		if err != nil {
			return "", &unreadableError{fmt.Errorf("read --token-file: %w", err)}
		}
		token = strings.TrimSpace(string(raw))
	}
	if token == "" {
		return "", &unreadableError{errors.New("no token is given; name its file by --token-file, or set USHER_TOKEN")}
	}
	if strings.ContainsAny(token, "\r\n") {
		return "", &unreadableError{errors.New("the token has several lines; give the file of one token alone")}
	}
	return token, nil
}
