package conformance

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var placeholder = regexp.MustCompile(`\{\{([a-zA-Z0-9-]+)(?: ([^{}]*))?\}\}`)

// patterns are the placeholders that only answers have.
var patterns = map[string]string{
	"any":    `(?s:.*)`,
	"number": `-?\d+(?:\.\d+)?`,
	"time":   `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`,
	"uuid":   `[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`,
}

// notRun is why a case cannot be asked of an installation.
type notRun string

func (n notRun) Error() string { return string(n) }

const (
	needsOps = notRun("needs --ops")
	needsKey = notRun("the installation publishes no key of Fincode")
)

// values are what the placeholders of one run of a case stand for.
type values struct {
	target Target
	known  map[string]string
}

// expand fills every placeholder of text in.
func (v *values) expand(ctx context.Context, text string) (string, error) {
	var failed error
	filled := placeholder.ReplaceAllStringFunc(text, func(found string) string {
		parts := placeholder.FindStringSubmatch(found)
		value, err := v.value(ctx, parts[1], parts[2])
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", found, err)
		}
		return value
	})
	return filled, failed
}

func (v *values) value(ctx context.Context, word, argument string) (string, error) {
	key := strings.TrimSpace(word + " " + argument)
	if value, is := v.known[key]; is {
		return value, nil
	}
	value, err := v.fresh(ctx, word, argument)
	if err == nil && word != "rsa" && word != "rsa-java" {
		v.known[key] = value
	}
	return value, err
}

func (v *values) fresh(ctx context.Context, word, argument string) (string, error) {
	switch word {
	case "token":
		return v.target.Token, nil
	case "email":
		return "customer." + random(6) + "@example.com", nil
	case "login":
		return "user" + random(5), nil
	case "member":
		return "M" + random(5), nil
	case "ssn":
		return digits(9), nil
	case "key":
		return random(16), nil
	case "fill":
		return fill(argument)
	case "rsa":
		return v.encrypt(ctx, argument, crypto.SHA256)
	case "rsa-java":
		return v.encrypt(ctx, argument, crypto.SHA1)
	case "code":
		return v.code(ctx, argument)
	}
	return "", errors.New("no exchange before has remembered this, nor is it a placeholder")
}

// fill repeats what comes after a number, or an x.
func fill(argument string) (string, error) {
	number, text, has := strings.Cut(argument, " ")
	if !has {
		text = "x"
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > 1<<20/max(len(text), 1) {
		return "", errors.New("write how often, for at most 1048576 bytes")
	}
	return strings.Repeat(text, n), nil
}

// random returns 2n hexadecimal digits.
func random(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw)
	return hex.EncodeToString(raw)
}

func digits(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw)
	for i := range raw {
		raw[i] = '1' + raw[i]%9
	}
	return string(raw)
}

// encrypt is what a Fincode client does with a password; mask is the hash of the mask
// generation, SHA-1 for Java's OAEPWithSHA-256AndMGF1Padding.
func (v *values) encrypt(ctx context.Context, plain string, mask crypto.Hash) (string, error) {
	encoded, err := v.ops(ctx, "/dev/fincode-public-key")
	if errors.Is(err, errAbsent) {
		return "", needsKey
	}
	if err != nil {
		return "", err
	}
	der, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(encoded)))
	if err != nil {
		return "", fmt.Errorf("decode the public key: %w", err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return "", fmt.Errorf("read the public key: %w", err)
	}
	key, is := public.(*rsa.PublicKey)
	if !is {
		return "", errors.New("the public key is not of RSA")
	}
	sealed, err := rsa.EncryptOAEPWithOptions(rand.Reader, key, []byte(plain), &rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: mask})
	return base64.StdEncoding.EncodeToString(sealed), err
}

const (
	patience = 20 * time.Second // for a mail, and for what comes eventually
	pause    = 50 * time.Millisecond
)

var codeLine = regexp.MustCompile(`(?m)^[A-Z0-9]{8,}$`)

// code waits for the mail to the e-mail address of the same argument.
func (v *values) code(ctx context.Context, argument string) (string, error) {
	address, err := v.value(ctx, "email", argument)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		raw, err := v.ops(ctx, "/dev/mail?to="+url.QueryEscape(address))
		if err != nil {
			return "", err
		}
		var mails []struct{ Text string }
		if err := json.Unmarshal(raw, &mails); err != nil {
			return "", fmt.Errorf("read mails: %w", err)
		}
		for _, m := range mails {
			if code := codeLine.FindString(strings.ReplaceAll(m.Text, "\r", "")); code != "" {
				return code, nil
			}
		}
		select {
		case <-ctx.Done():
			return "", errors.New("no mail with a code came")
		case <-time.After(pause):
		}
	}
}

var errAbsent = errors.New("there is nothing at this path")

// ops reads a path of the ops listener.
func (v *values) ops(ctx context.Context, path string) ([]byte, error) {
	if v.target.Ops == "" {
		return nil, needsOps
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.target.Ops+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+v.target.Token)
	response, err := v.target.client().Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("GET %s: %w", path, errAbsent)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return io.ReadAll(response.Body)
}
