package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/services/usher/proof"
)

// verification is where to look and what for. STORE_URL and USHER_KEYS are read too.
type verification struct {
	Values string `placeholder:"FILE" help:"With --verify: what the customer is known by, a value on each line; - for standard input."`
	Data   string `placeholder:"DIR" help:"With --verify: also every file under DIR, byte by byte: databases, the broker's files, captured mails, logs."`
}

// verify searches every stream, the documents of STORE_URL and the files under --data. That
// something is left, or not all could be searched, is its error.
func (v verification) verify(ctx context.Context, b *bus.Bus, report *erased, out io.Writer) error {
	tenant, id := report.Tenant, report.ID
	values, err := v.values()
	if err != nil {
		return err
	}
	ring, err := v.ring()
	if err != nil {
		return err
	}
	search, err := proof.New(proof.Person{Tenant: tenant, ID: id, Values: values}, ring, func(place string, searched int, unit string) {
		line := fmt.Sprintf("%s: %d %s", place, searched, unit)
		report.Searched = append(report.Searched, line)
		fmt.Fprintln(out, line)
	})
	if err != nil {
		return err
	}
	history, err := b.LeaderHistory(ctx, tenant, id)
	if err != nil {
		return err
	}
	report.Awaits = append([]events.Service{}, unanswered(history)...)
	if report.Erased = len(report.Awaits) == 0; !report.Erased {
		fmt.Fprintf(out, "its erasure has not ended; not yet answered by %v\n", report.Awaits)
	}
	if err := search.Streams(ctx, b.JetStream()); err != nil {
		return err
	}
	if err := v.stores(ctx, search, out); err != nil {
		return err
	}
	if v.Data != "" {
		if err := search.Files(v.Data); err != nil {
			return err
		}
	}
	found := search.Findings()
	for _, f := range found {
		line := fmt.Sprintf("%s: %s", f.Place, f.What)
		report.Left = append(report.Left, line)
		fmt.Fprintln(out, "LEFT in "+line)
	}
	if len(found) > 0 {
		return fmt.Errorf("of %s is left: %d findings", id, len(found))
	}
	fmt.Fprintf(out, "of %s nothing was found, by %d values%s\n", id, len(values), map[bool]string{true: " and every key at hand", false: "; USHER_KEYS is not set: nothing was opened"}[ring != nil])
	return nil
}

// unanswered are the services that have yet to answer the erasure of a registration, or its end.
func unanswered(history []events.Record) []events.Service {
	status := events.Fold(history).Status
	asked := slices.ContainsFunc(history, func(r events.Record) bool { return r.Subject.Step == events.StepErasure })
	switch {
	case len(history) == 0 || status == events.StatusErased:
		return nil
	case status == events.StatusExpired && !asked:
		return events.Awaits(history, events.AfterExpiry)
	}
	return events.Awaits(history, events.AfterErasure)
}

func (v verification) values() ([]string, error) {
	switch v.Values {
	case "":
		return nil, nil
	case "-":
		return proof.ReadValues(os.Stdin)
	}
	f, err := os.Open(v.Values)
	if err != nil {
		return nil, &unreadableError{fmt.Errorf("read values: %w", err)}
	}
	defer f.Close()
	return proof.ReadValues(f)
}

// ring opens USHER_KEYS, or the keys of a developer's data directory; nil where there are none.
func (v verification) ring() (*keys.Ring, error) {
	dir := os.Getenv("USHER_KEYS")
	if dir == "" && v.Data != "" {
		dir = filepath.Join(v.Data, "keys")
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
	}
	if dir == "" {
		return nil, nil
	}
	return keys.Open(dir)
}

// stores searches the documents of STORE_URL, or of a developer's data directory.
func (v verification) stores(ctx context.Context, search *proof.Search, out io.Writer) error {
	url := os.Getenv("STORE_URL")
	if dir := filepath.Join(v.Data, "store"); url == "" && v.Data != "" {
		if _, err := os.Stat(dir); err == nil {
			url = "sqlite://" + dir
		}
	}
	if url == "" {
		fmt.Fprintln(out, "STORE_URL is not set: no document was searched")
		return nil
	}
	for _, s := range Services {
		backend, err := store.Open(ctx, url, string(s.Name), nil)
		if err != nil {
			return err
		}
		err = search.Store(ctx, string(s.Name), backend, append([]store.Schema{bus.ParkedSchema}, s.Schemas...)...)
		if err = errors.Join(err, backend.Close()); err != nil {
			return err
		}
	}
	return nil
}
