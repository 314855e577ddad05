package simulation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/usherhq/usher/pkg/store"
)

// documents are what all processes of one service share, and every change that was ever made
// to them.
type documents struct {
	*store.Memory

	mu      sync.Mutex
	changes []change
	away    time.Time // until then nothing is reached: another server takes over
}

// change is one write that took effect.
type change struct {
	kind       store.OpKind
	collection string
	document   store.Document // as it is then; of one deleted the id alone
}

// write writes and remembers what took effect.
func (d *documents) write(ctx context.Context, collection string, ops []store.Op) []error {
	d.mu.Lock()
	defer d.mu.Unlock()
	errs := d.Memory.Write(ctx, collection, ops)
	for i, op := range ops {
		if errs[i] != nil {
			continue
		}
		c := change{op.Kind, collection, op.Document}
		c.document.Version++ // an insert's is 0, and an update names the version before
		d.changes = append(d.changes, c)
	}
	return errs
}

// failover makes the store unreachable for a while.
func (d *documents) failover(lasts time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = time.Now().Add(lasts)
}

func (d *documents) isAway() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.away)
}

// handle is one process's access to its documents: a store.Backend.
type handle struct {
	*documents
	owner  *process
	faults *faults
}

var errAway = fmt.Errorf("simulated: %w", store.ErrUnreachable)

// Write implements store.Backend. Any error of its own leaves the outcome unknown: the write is
// done, or never, or when its caller has long given up.
func (h *handle) Write(ctx context.Context, collection string, ops []store.Op) []error {
	if ctx.Err() != nil || h.owner.dead.Load() || h.isAway() {
		return all(len(ops), cmp.Or(ctx.Err(), errAway))
	}
	v, delay := h.faults.decide(h.owner.name, fmt.Sprintf("write %s %d %s", collection, ops[0].Kind, ops[0].Document.ID), oddsOfWrite)
	switch v {
	case crashBefore:
		h.owner.crash()
		return all(len(ops), errAway)
	case lost:
		return all(len(ops), errAway)
	case late:
		time.AfterFunc(delay, func() { h.write(context.WithoutCancel(ctx), collection, ops) })
		return all(len(ops), errAway)
	}
	errs := h.write(context.WithoutCancel(ctx), collection, ops)
	for i, op := range ops {
		h.faults.say("%s wrote %s %s: %v", h.owner.name, collection, op.Document.ID, errs[i])
		var duplicate *store.DuplicateError
		if errors.As(errs[i], &duplicate) {
			h.faults.count("duplicate key")
		}
	}
	switch v {
	case crashAfter:
		h.owner.crash()
		return all(len(ops), errAway)
	case unanswered:
		h.faults.count("timeout after commit")
		return all(len(ops), errAway)
	}
	return errs
}

func all(n int, err error) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// reads says why a read fails, or nil.
func (h *handle) reads(what string) error {
	if h.owner.dead.Load() || h.isAway() {
		return errAway
	}
	switch v, _ := h.faults.decide(h.owner.name, what, oddsOfRead); v {
	case lost, late:
		return errAway
	case crashBefore:
		h.owner.crash()
		return errAway
	}
	return nil
}

// Get implements store.Backend.
func (h *handle) Get(ctx context.Context, collection string, ids ...string) (map[string]store.Document, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if err := h.reads("get " + collection + " " + ids[0]); err != nil {
		return nil, err
	}
	return h.Memory.Get(ctx, collection, ids...)
}

// Find implements store.Backend.
func (h *handle) Find(ctx context.Context, collection string, q store.Query) ([]store.Document, string, error) {
	if h.owner.dead.Load() || h.isAway() {
		return nil, "", errAway
	}
	return h.Memory.Find(ctx, collection, q)
}

// Tally implements store.Backend.
func (h *handle) Tally(ctx context.Context, collection string, tallies []store.Tally) ([]int64, error) {
	if len(tallies) == 0 {
		return nil, nil
	}
	if err := h.reads("tally " + collection + " " + tallies[0].Field); err != nil {
		return nil, err
	}
	return h.Memory.Tally(ctx, collection, tallies)
}
