// Package doctor looks at what an installation rests on, changes nothing, and says of each part how
// it is and what to do.
package doctor

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/tenant"
)

// Status is how a part was found.
type Status string

const (
	OK   Status = "ok"
	Warn Status = "warn" // works, and will not for ever
	Fail Status = "fail" // does not work, or breaks a promise
	Skip Status = "skip" // could not be looked at
)

// Finding is what was seen of one part. It never holds a password, a token or a person.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	About  string `json:"about"`
	Mend   string `json:"mend,omitempty"` // what to do; empty where there is nothing
}

// Options say what is looked at, and from where.
type Options struct {
	// Getenv reads NATS_URL, NATS_CREDS, NATS_CA, STORE_URL, USHER_CONFIG, USHER_KEYS and SMTP_URL,
	// as the services do.
	Getenv   func(string) string
	Services []app.Service // whose collections are looked for
	Now      func() time.Time
	Timeout  time.Duration // of each part
}

// examination is one run.
type examination struct {
	Options
	tell   func(Finding)
	config *tenant.Config // the demonstration where the installation's cannot be read
}

// Examine looks at every part and tells each finding at once, in a fixed order. It reports whether
// none failed.
func Examine(ctx context.Context, o Options, tell func(Finding)) (sound bool) {
	sound = true
	e := &examination{Options: o, config: tenant.Demo()}
	e.tell = func(f Finding) {
		sound = sound && f.Status != Fail
		tell(f)
	}
	for _, look := range []func(context.Context){e.configuration, e.broker, e.store, e.smtp, e.keys, e.disks} {
		if ctx.Err() != nil {
			return false
		}
		look(ctx)
	}
	return sound
}

func (e *examination) ok(check, about string) { e.tell(Finding{check, OK, about, ""}) }

func (e *examination) warn(check, about, mend string) { e.tell(Finding{check, Warn, about, mend}) }

func (e *examination) fail(check, about, mend string) { e.tell(Finding{check, Fail, about, mend}) }

func (e *examination) skip(check, about, mend string) { e.tell(Finding{check, Skip, about, mend}) }

// differs tells of an error whose words are "what is wrong; what to do".
func (e *examination) differs(check string, err error) {
	about, mend, _ := strings.Cut(err.Error(), "; ")
	e.fail(check, about, mend)
}

// each calls f for every error that was joined.
func each(err error, f func(error)) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			each(one, f)
		}
		return
	}
	if err != nil {
		f(err)
	}
}

// reason is an error without the address that it quotes: that may have a password.
func reason(err error) string {
	var quoting *url.Error
	if errors.As(err, &quoting) {
		return quoting.Err.Error()
	}
	return err.Error()
}

func (e *examination) configuration(context.Context) {
	const check = "configuration"
	path := e.Getenv("USHER_CONFIG")
	if path == "" {
		e.warn(check, "USHER_CONFIG is not set: the demonstration is in force", "set it to the file of the tenants where this is no trial")
		return
	}
	config, err := tenant.Load(path)
	if err != nil {
		e.fail(check, err.Error(), "run `usher config check "+path+"`")
		return
	}
	e.config = config
	e.ok(check, path+" is good: version "+config.Version)
}
