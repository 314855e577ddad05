package usher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/usherhq/usher/pkg/evidence"
)

type auditCommand struct {
	Export auditExport `cmd:"" help:"Write a part of a tenant's feed, its checkpoints and the public keys to a file that verifies without us."`
	Verify auditVerify `cmd:"" help:"Verify an exported file, or, without one, the feed as the ledger serves it."`
}

// span is a part of a feed, by the sequences of its first and last event.
type span struct {
	From uint64 `default:"1" help:"Sequence of the first event."`
	To   uint64 `help:"Sequence of the last event; without it the last there is, of an export the last that is signed."`
}

type auditExport struct {
	feedDesk
	span
	Out string `required:"" help:"The file to write; it must not be there yet."`
	format
}

// exportMade is what an export has written.
type exportMade struct {
	Tenant string `json:"tenant"`
	Events int    `json:"events"`
	File   string `json:"file"`
}

func (auditExport) shape() any { return exportMade{} }

func (x auditExport) Run(ctx context.Context, out io.Writer) error {
	file, err := os.OpenFile(x.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	n, err := x.write(ctx, file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(x.Out))
	}
	return x.print(out, exportMade{x.Tenant, n, x.Out}, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "%d events of %s are in %s\n", n, x.Tenant, x.Out)
		return err
	})
}

func (x auditExport) write(ctx context.Context, file io.Writer) (n int, err error) {
	b := evidence.Bundle{Head: evidence.Head{Tenant: x.Tenant, From: x.From}}
	if b.Keys, err = x.keys(ctx); err != nil {
		return 0, err
	}
	bar := newProgress(os.Stderr, "export", "events", int64(x.To))
	defer bar.end()
	err = x.follow(ctx, "export", "", func(e evidence.Event) error {
		bar.add(1)
		if x.To > 0 && e.Sequence > x.To {
			return io.EOF
		}
		if e.Sequence >= x.From {
			b.Events = append(b.Events, e)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if len(b.Events) == 0 {
		return 0, errors.New("the feed has no events there")
	}
	b.To = b.Events[len(b.Events)-1].Sequence
	if b.Signed, err = x.checkpoints(ctx, "export"); err != nil {
		return 0, err
	}
	if last := uint64(len(b.Signed)) * evidence.Span; x.To == 0 && b.To > last && last >= x.From {
		b.Events, b.To = b.Events[:last-b.Events[0].Sequence+1], last
	}
	_, err = b.WriteTo(file)
	return len(b.Events), err
}

type auditVerify struct {
	feedDesk
	span
	File string `arg:"" optional:"" type:"existingfile" help:"An exported file."`
	// Unsigned accepts a file whose last events were exported before they were signed.
	Unsigned bool   `help:"Accept events at the end of a file that were exported before they were signed."`
	Keys     string `type:"existingfile" help:"File checkpoint.pub.json of the installation. Without it the keys are taken from where the events are, which proves only that both fit."`
	format
}

// verified is what verify has found.
type verified struct {
	Sound       bool   `json:"sound"`
	Events      uint64 `json:"events"`
	Checkpoints uint64 `json:"checkpoints"`
	Unsigned    uint64 `json:"unsigned"`          // events at the end
	Finding     string `json:"finding,omitempty"` // what is not as it was signed
}

func (auditVerify) shape() any { return verified{Finding: " "} }

// errNotAsSigned makes the command fail after it has said why.
var errNotAsSigned = errors.New("the feed is not as it was signed")

func (v auditVerify) Run(ctx context.Context, out io.Writer) error {
	report, err := v.audit(ctx)
	if err != nil {
		return err
	}
	found := verified{report.Finding == nil, report.Events, report.Checkpoints, report.Unsigned, ""}
	if report.Finding != nil {
		found.Finding = report.Finding.What
	}
	if err := v.print(out, found, found.text); err != nil {
		return err
	}
	if !found.Sound {
		return errNotAsSigned
	}
	return nil
}

func (v verified) text(out io.Writer) error {
	fmt.Fprintf(out, "%d events, %d checkpoints, %d events at the end not signed yet\n", v.Events, v.Checkpoints, v.Unsigned)
	what := v.Finding
	if v.Sound {
		what = "everything is as it was signed"
	}
	_, err := fmt.Fprintln(out, what)
	return err
}

func (v auditVerify) audit(ctx context.Context) (evidence.Report, error) {
	trusted, err := v.trusted()
	if err != nil {
		return evidence.Report{}, err
	}
	if v.File == "" {
		return v.auditFeed(ctx, trusted)
	}
	return v.auditFile(trusted)
}

// trusted are the keys of the file given; nil without one.
func (v auditVerify) trusted() (evidence.Keys, error) {
	if v.Keys == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(v.Keys)
	if err != nil {
		return nil, err
	}
	var file struct {
		Keys []struct {
			ID     string
			Secret []byte
		}
	}
	if json.Unmarshal(raw, &file) != nil || len(file.Keys) == 0 {
		return nil, fmt.Errorf("%s is not a file of public keys", v.Keys)
	}
	keys := evidence.Keys{}
	for _, k := range file.Keys {
		keys[k.ID] = k.Secret
	}
	return keys, nil
}

func (v auditVerify) auditFeed(ctx context.Context, keys evidence.Keys) (report evidence.Report, err error) {
	if keys == nil {
		if keys, err = v.keys(ctx); err != nil {
			return report, err
		}
	}
	signed, waiting := evidence.Signed{}, []evidence.Event(nil)
	audit := evidence.NewAudit(v.Tenant, v.From, keys, signed.Find)
	// check takes the events that wait for no checkpoint any more.
	check := func(ended bool) error {
		for len(waiting) > 0 {
			if _, there := signed[evidence.NumberOf(waiting[0].Sequence)]; !there && !ended {
				return nil
			}
			if err := audit.Check(waiting[0]); err != nil {
				return err
			}
			waiting = waiting[1:]
		}
		return nil
	}
	bar := newProgress(os.Stderr, "verify", "events", int64(v.To))
	defer bar.end()
	err = v.follow(ctx, "audit", "", func(e evidence.Event) error {
		bar.add(1)
		if c, ok := checkpointOf(e); ok {
			signed[c.Number] = c
		}
		past := v.To > 0 && e.Sequence > v.To
		if e.Sequence >= v.From && !past {
			waiting = append(waiting, e)
		}
		if err := check(false); err != nil || !past || len(waiting) > 0 {
			return err
		}
		return io.EOF
	})
	if err == nil {
		err = check(true)
	}
	return audit.Report(v.To), err
}

// auditFile verifies what an exported file has, in the order in which it has it.
func (v auditVerify) auditFile(keys evidence.Keys) (report evidence.Report, err error) {
	file, err := os.Open(v.File)
	if err != nil {
		return report, err
	}
	defer file.Close()
	b, err := evidence.ReadBundle(file)
	if err != nil {
		return report, fmt.Errorf("%s: %w", v.File, err)
	}
	if keys == nil {
		keys = b.Keys
	}
	bar := newProgress(os.Stderr, "verify", "events", int64(len(b.Events)))
	defer bar.end()
	report, err = b.Verify(keys, v.From, v.To, func() { bar.add(1) })
	if err == nil && report.Finding == nil && report.Unsigned > 0 && !v.Unsigned {
		first := report.Last - report.Unsigned + 1
		report.Finding = &evidence.Finding{Sequence: first, What: fmt.Sprintf("no checkpoint of the file signs the events from %d on", first)}
	}
	return report, err
}
