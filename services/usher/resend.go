package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

type resendCommand struct {
	Registrations []string `arg:"" optional:"" name:"registration" help:"Ids of registrations."`
	ledgerDesk
	Failed bool      `help:"All whose last mail failed."`
	Code   string    `help:"With --failed: only where it failed for this, e.g. SMTP_550."`
	Since  time.Time `help:"With --failed: only registrations accepted since, such as 2026-01-31T12:00:00Z."`
	Until  time.Time `help:"With --failed: only registrations accepted until then."`
	format
}

// Validate is kong's.
func (r resendCommand) Validate() error {
	switch {
	case r.Failed == (len(r.Registrations) > 0):
		return errors.New("give the ids of registrations, or --failed")
	case !r.Failed && (r.Code != "" || !r.Since.IsZero() || !r.Until.IsZero()):
		return errors.New("--code, --since and --until go with --failed")
	}
	return nil
}

// resent is what was ordered, and what was not.
type resent struct {
	Ordered []string    `json:"ordered"`
	Skipped []notResent `json:"skipped"`
}

type notResent struct {
	Registration string `json:"registration"`
	Reason       string `json:"reason"`
}

func (resendCommand) shape() any { return resent{[]string{""}, []notResent{{}}} }

func (r resendCommand) Run(ctx context.Context, out io.Writer) error {
	done := resent{[]string{}, []notResent{}}
	order := r.each
	if r.Failed {
		order = r.failed
	}
	err := order(ctx, &done)
	if err == nil || len(done.Ordered) > 0 {
		err = errors.Join(err, r.print(out, done, func(out io.Writer) error { return printResent(out, done) }))
	}
	if err == nil && len(done.Skipped) > 0 {
		err = fmt.Errorf("number of mails not ordered: %d of %d", len(done.Skipped), len(done.Skipped)+len(done.Ordered))
	}
	return err
}

func printResent(out io.Writer, r resent) error {
	for _, id := range r.Ordered {
		fmt.Fprintf(out, "%s: ordered\n", id)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(out, "%s: not ordered: %s\n", s.Registration, s.Reason)
	}
	return nil
}

// each orders a mail of every registration that is named.
func (r resendCommand) each(ctx context.Context, done *resent) error {
	for _, id := range r.Registrations {
		var answer struct{ K int }
		err := r.ask(ctx, http.MethodPost, "/v1/registrations/"+url.PathEscape(id)+"/mails:resend", nil, &answer)
		var refused *refusalError
		switch {
		case errors.As(err, &refused) && refused.Status/100 == 4 && refused.Status != http.StatusUnauthorized && refused.Status != http.StatusForbidden:
			done.Skipped = append(done.Skipped, notResent{id, refused.Detail})
		case err != nil:
			return err
		default:
			done.Ordered = append(done.Ordered, id)
		}
	}
	return nil
}

// failed orders a mail of every registration whose last mail failed, page by page.
func (r resendCommand) failed(ctx context.Context, done *resent) error {
	selection := map[string]any{"state": "FAILED", "limit": 500}
	if r.Code != "" {
		selection["code"] = r.Code
	}
	for name, at := range map[string]time.Time{"since": r.Since, "until": r.Until} {
		if !at.IsZero() {
			selection[name] = at
		}
	}
	for {
		var page struct {
			resent
			Next string
		}
		if err := r.ask(ctx, http.MethodPost, "/v1/mails:resend", selection, &page); err != nil {
			return err
		}
		done.Ordered = append(done.Ordered, page.Ordered...)
		done.Skipped = append(done.Skipped, page.Skipped...)
		if page.Next == "" {
			return nil
		}
		selection["after"] = page.Next
	}
}
