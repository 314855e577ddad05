package validator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
)

var markSchema = store.Schema{Collection: "marks", Index: [][]string{{"registration"}}}

// mark says which registration of a person is in flight, or was the last one. It is soft: the
// marked registration's history tells whether it still is, and accounts whether a person has an
// account. It is deleted only when the person is erased, and it moves only to one that was received later, so that no redelivery turns
// it back.
type mark struct {
	Tenant       string `json:"tenant"`
	Registration string `json:"registration"`
	Receipt      int64  `json:"receipt"` // Unix nanoseconds of the stream's clock
	Closed       bool   `json:"closed"`  // by one that took it and was turned down for another
}

func (m mark) fields() store.Fields { return store.Fields{"registration": m.Registration} }

// markID names the mark of a value that only one person has: the tenant, what the value is, and
// its HMAC under the tenant's index key.
type markID struct {
	id    string
	field string // of the request, for a violation
}

type histories interface {
	Latest(ctx context.Context, tenant, registration string) (events.Record, error)
}

// marks are those of all persons. Safe for concurrent use, also by replicas.
type marks struct {
	docs      *store.Docs[mark]
	histories histories
	keys      *keys.Ring
}

// of returns the marks of a person, always in the same order.
func (m *marks) of(tenant string, r events.Registration) ([]markID, error) {
	values := []struct{ kind, field, value string }{{"member", "memberNumber", strings.ToUpper(r.MemberNumber)}}
	if id := r.Applicant.NationalID; id != nil {
		values = append(values, struct{ kind, field, value string }{"nid", "person.ssn", id.Canonical()})
	}
	var ids []markID
	for _, v := range values {
		if v.value == "" {
			continue
		}
		mac, err := m.keys.MAC(keys.Index, "mark-"+v.kind, tenant, []byte(v.value))
		if err != nil {
			return nil, fmt.Errorf("index mark: %w", err)
		}
		ids = append(ids, markID{fmt.Sprintf("%s/%s/%x", tenant, v.kind, mac), v.field})
	}
	return ids, nil
}

// take marks a person as being registered by own. Where another registration of the person is
// in flight it returns the field that tells; what own has marked until then is over with it.
func (m *marks) take(ctx context.Context, own mark, ids []markID) (taken string, err error) {
	for _, id := range ids {
		free, err := m.takeOne(ctx, own, id.id)
		if err != nil {
			return "", fmt.Errorf("mark person: %w", err)
		}
		if !free {
			return id.field, nil
		}
	}
	return "", nil
}

func (m *marks) takeOne(ctx context.Context, own mark, id string) (free bool, err error) {
	stored, _, err := m.docs.InsertOrGet(ctx, id, own)
	for err == nil {
		if stored.Value.Registration == own.Registration {
			return true, nil
		}
		if free, err = m.over(ctx, stored.Value); err != nil || !free || own.Receipt <= stored.Value.Receipt {
			return free, err
		}
		stored.Value = own
		if stored, err = m.docs.Update(ctx, stored); errors.Is(err, store.ErrConflict) {
			stored, err = m.docs.Get(ctx, id)
		}
	}
	return false, err
}

// over reports whether the marked registration is not in flight any more, as its history on the
// leader has it; one that the stream has forgotten is over.
func (m *marks) over(ctx context.Context, k mark) (bool, error) {
	latest, err := m.histories.Latest(ctx, k.Tenant, k.Registration)
	if errors.Is(err, bus.ErrAbsent) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	switch latest.Event.(type) {
	case events.Requested, events.Validated, events.Categorized, events.ReviewRequired, events.ReviewDecided, events.ScreeningWait:
		return false, nil
	}
	return true, nil
}

// release deletes what a registration has marked: the ids of marks are hashes of the person.
func (m *marks) release(ctx context.Context, registration string) error {
	marked, _, err := m.docs.Find(ctx, store.Query{Where: store.Fields{"registration": registration}, Limit: 1000})
	if err != nil {
		return fmt.Errorf("find marks: %w", err)
	}
	for _, k := range marked {
		if err := m.docs.Delete(ctx, k.ID); err != nil {
			return fmt.Errorf("release mark: %w", err)
		}
	}
	return nil
}
