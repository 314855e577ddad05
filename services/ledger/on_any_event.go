package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/group"
	"github.com/usherhq/usher/pkg/store"
)

var registrationSchema = store.Schema{
	Collection: "registrations",
	Index: [][]string{
		{"tenant", "acceptedAt"}, {"tenant", "status", "acceptedAt"}, {"tenant", "outcome", "acceptedAt"}, {"tenant", "mail", "acceptedAt"},
	},
}

// registration is one registration's history as it arrived, and what it amounts to.
type registration struct {
	Tenant     string         `json:"tenant"`
	History    []entry        `json:"history"`
	Status     events.Status  `json:"status"`
	Outcome    events.Outcome `json:"outcome,omitempty"`
	Mail       string         `json:"mail,omitempty"` // state of the newest mail that has a code
	AcceptedAt int64          `json:"acceptedAt"`     // Unix milliseconds, the stream's clock
	// Erased makes it a tombstone: of each event it keeps that it was and when.
	Erased bool `json:"erased,omitempty"`
}

func (r registration) fields() store.Fields {
	f := store.Fields{"tenant": r.Tenant, "status": string(r.Status), "acceptedAt": r.AcceptedAt, "outcome": string(r.Outcome)}
	if r.Mail != "" {
		f["mail"] = r.Mail
	}
	return f
}

// entry is one event as the stream had it.
type entry struct {
	Step       events.Step     `json:"step"`
	N          string          `json:"n"`
	Sequence   uint64          `json:"sequence"`
	Stored     time.Time       `json:"stored"`
	Type       string          `json:"type"`
	Source     events.Service  `json:"source"`
	Time       time.Time       `json:"time"`
	Trace      string          `json:"traceparent,omitempty"`
	TraceState string          `json:"tracestate,omitempty"`
	Data       json.RawMessage `json:"data"`
}

func entryOf(r events.Record) entry {
	return entry{
		Step: r.Subject.Step, N: r.Subject.N, Sequence: r.Sequence, Stored: r.Stored, Type: r.Event.Type(), Source: r.Source,
		Time: r.Time, Trace: r.TraceParent, TraceState: r.TraceState, Data: r.Data,
	}
}

func (e entry) record(tenant, id string) (events.Record, error) {
	event, err := events.DecodeData(e.Type, e.Data)
	return events.Record{
		Subject: events.Subject{Tenant: tenant, Registration: id, Step: e.Step, N: e.N}, Source: e.Source, Time: e.Time,
		TraceParent: e.Trace, TraceState: e.TraceState, Event: event, Sequence: e.Sequence, Stored: e.Stored, Data: e.Data,
	}, err
}

// outline is the record without the facts that no status depends on.
func (e entry) outline(tenant, id string) (r events.Record, ok bool) {
	event, ok := events.Blank(e.Type)
	if _, erased := event.(events.Erased); erased {
		r, err := e.record(tenant, id)
		return r, err == nil
	}
	return events.Record{Event: event, Sequence: e.Sequence, Stored: e.Stored}, ok
}

// records decodes the history; what only a newer version can read is left out.
func (r registration) records(id string) []events.Record {
	records := make([]events.Record, 0, len(r.History))
	for _, e := range r.History {
		if record, err := e.record(r.Tenant, id); err == nil {
			records = append(records, record)
		}
	}
	return records
}

// add puts an event into the history; one that is there already changes nothing.
func (r *registration) add(e entry) (changed bool) {
	if slices.ContainsFunc(r.History, func(h entry) bool { return h.Step == e.Step && h.N == e.N }) {
		return false
	}
	r.History = append(r.History, e)
	return true
}

// strip leaves of the events of a registration whose person is erased that they were and when; of
// the erasure itself, or of the end, everything.
func (r *registration) strip() {
	whole := []events.Step{events.StepErasure, events.StepExpired, events.StepErased}
	r.Erased = r.Erased || slices.ContainsFunc(r.History, func(e entry) bool { return slices.Contains(whole[:2], e.Step) })
	for i, e := range r.History {
		if r.Erased && !slices.Contains(whole, e.Step) {
			r.History[i].Data = json.RawMessage("{}")
		}
	}
}

func (r *registration) fold(id string) {
	records := make([]events.Record, 0, len(r.History))
	for _, e := range r.History {
		if outline, ok := e.outline(r.Tenant, id); ok {
			records = append(records, outline)
		}
	}
	state := events.Fold(records)
	r.Status, r.Outcome = state.Status, state.Outcome
	r.Mail = lastMail(r.History, r.Outcome)
	if !state.AcceptedAt.IsZero() {
		r.AcceptedAt = state.AcceptedAt.UnixMilli()
	} else if len(records) > 0 && r.AcceptedAt == 0 {
		r.AcceptedAt = records[0].Stored.UnixMilli()
	}
}

// A registration passes the stages within a moment: waiting for it makes of its events one
// write. Queries are as much behind.
const (
	foldWindow = 150 * time.Millisecond
	foldMax    = 4096
)

// documents can forget for good what was overwritten or deleted.
type documents interface {
	Purge(ctx context.Context) error
}

// readModel keeps one document a registration. The events of a batch become one write each.
type readModel struct {
	documents documents
	docs      *store.Docs[registration]
	folds     *group.Group[events.Record, struct{}]
}

func newReadModel(b store.Backend) *readModel {
	m := &readModel{documents: b, docs: store.NewDocs(b, registrationSchema, registration.fields)}
	m.folds = group.New(foldWindow, foldMax, m.foldBatch)
	return m
}

// onAnyEvent returns once the event is in the read model, whatever order events arrive in. Facts
// about a tenant belong to no registration.
func (m *readModel) onAnyEvent(ctx context.Context, r events.Record) error {
	if r.Subject.Registration == "" {
		return nil
	}
	_, err := m.folds.Do(ctx, r)
	return err
}

// foldBatch merges a batch, registration by registration, each with its own result.
func (m *readModel) foldBatch(ctx context.Context, records []events.Record) []group.Result[struct{}] {
	results := make([]group.Result[struct{}], len(records))
	byID := map[string][]int{}
	for i, r := range records {
		byID[r.Subject.Registration] = append(byID[r.Subject.Registration], i)
	}
	ids := make([]string, 0, len(byID))
	for id := range byID {
		ids = append(ids, id)
	}
	stored, err := m.docs.GetMany(ctx, ids...)
	if err != nil {
		for i := range results {
			results[i].Err = fmt.Errorf("read registrations: %w", err)
		}
		return results
	}
	done := make(chan struct{}, len(byID))
	for id, indexes := range byID {
		go func() {
			err := m.mergeSafely(ctx, id, stored[id], pick(records, indexes))
			for _, i := range indexes {
				results[i].Err = err
			}
			done <- struct{}{}
		}()
	}
	for range byID {
		<-done
	}
	return results
}

// mergeSafely makes a panic the error of one registration.
func (m *readModel) mergeSafely(ctx context.Context, id string, s store.Stored[registration], records []events.Record) (err error) {
	defer func() {
		if recover() != nil {
			err = group.ErrPanicked
		}
	}()
	return m.merge(ctx, id, s, records)
}

func pick(records []events.Record, indexes []int) []events.Record {
	picked := make([]events.Record, len(indexes))
	for i, index := range indexes {
		picked[i] = records[index]
	}
	return picked
}

// merge writes the registration with these events. A replica that was faster is a conflict;
// the message comes again. Events of another tenant than the registration's, such as an erasure
// under a wrong one, are left out.
func (m *readModel) merge(ctx context.Context, id string, s store.Stored[registration], records []events.Record) error {
	s.ID = id
	if s.Version == 0 {
		s.Value.Tenant = records[0].Subject.Tenant
	}
	changed := false
	for _, r := range records {
		changed = r.Subject.Tenant == s.Value.Tenant && s.Value.add(entryOf(r)) || changed
	}
	if !changed {
		return nil
	}
	s.Value.strip()
	s.Value.fold(id)
	if s.Version == 0 {
		return m.docs.Insert(ctx, id, s.Value)
	}
	_, err := m.docs.Update(ctx, s)
	return err
}

// get returns a registration of a tenant; ok is false where there is none.
func (m *readModel) get(ctx context.Context, tenant, id string) (r registration, ok bool, err error) {
	s, err := m.docs.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && s.Value.Tenant != tenant {
		return r, false, nil
	}
	return s.Value, err == nil, err
}
