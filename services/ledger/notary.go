package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/evidence"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

var notarySchema = store.Schema{Collection: "notary"}

// signedUpTo is the last checkpoint of a tenant, under the tenant's id.
type signedUpTo struct {
	Number uint64 `json:"number"`
	Head   []byte `json:"head"`
}

func (signedUpTo) fields() store.Fields { return nil }

// feeds are the feeds and the checkpoints as they are stored.
type feeds interface {
	Feed(ctx context.Context, tenant string, after uint64, limit int) ([]bus.FeedEvent, error)
	Publish(ctx context.Context, tenant, registration string, e events.Event) error
	StoredAt(ctx context.Context, s events.Subject) (events.Record, error)
}

// notary signs what the tenants' feeds hold, span by span. Every replica does: what they make is
// the same, and the stream stores it once.
type notary struct {
	feeds  feeds
	docs   *store.Docs[signedUpTo]
	signer evidence.Signer
	log    *slog.Logger

	mu      sync.Mutex
	altered map[string]error     // tenants whose feed is not what was signed
	signed  map[string]time.Time // when all that could be signed last was, by tenant
}

func newNotary(f feeds, b store.Backend, s evidence.Signer, log *slog.Logger) *notary {
	return &notary{feeds: f, docs: store.NewDocs(b, notarySchema, signedUpTo.fields), signer: s, log: log, altered: map[string]error{}, signed: map[string]time.Time{}}
}

// notaryPause is how long after its last event a full span is signed at the latest.
const notaryPause = 5 * time.Second

// run signs until ctx ends. What fails is tried again.
func (n *notary) run(ctx context.Context, config func() *tenant.Config) {
	for {
		for _, t := range config().TenantIDs() {
			if err := n.catchUp(ctx, t); err != nil && ctx.Err() == nil {
				n.log.WarnContext(ctx, "feed not signed", "tenant", t, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(notaryPause):
		}
	}
}

// errAltered means that the feed is not what was signed.
var errAltered = errors.New("a checkpoint is stored that the events of the feed do not lead to")

// catchUp signs every span of a tenant's feed that is full.
func (n *notary) catchUp(ctx context.Context, t string) error {
	last, _, err := n.docs.InsertOrGet(ctx, t, signedUpTo{Head: evidence.Genesis(t)})
	if err != nil {
		return fmt.Errorf("read the last checkpoint: %w", err)
	}
	for {
		next, err := n.next(ctx, t, last.Value)
		if err != nil || next.Number == 0 {
			n.tell(t, err)
			return err
		}
		last.Value = signedUpTo{Number: next.Number, Head: next.Head}
		last, err = n.docs.Update(ctx, last)
		if errors.Is(err, store.ErrConflict) {
			return nil // another replica goes on
		}
		if err != nil {
			return fmt.Errorf("store the last checkpoint: %w", err)
		}
	}
}

// next makes and stores the checkpoint of the next span; its zero where the span is not full.
func (n *notary) next(ctx context.Context, t string, last signedUpTo) (events.Checkpoint, error) {
	page, err := n.feeds.Feed(ctx, t, last.Number*evidence.Span, evidence.Span)
	if errors.Is(err, bus.ErrNoFeed) || err == nil && len(page) < evidence.Span {
		return events.Checkpoint{}, nil
	}
	if err != nil {
		return events.Checkpoint{}, err
	}
	leaves := make([][]byte, len(page))
	for i, e := range page {
		if e.Sequence != last.Number*evidence.Span+uint64(i)+1 {
			return events.Checkpoint{}, bus.ErrFeedMoved
		}
		attributes, err := events.Attributes(e.Header)
		if err != nil {
			return events.Checkpoint{}, fmt.Errorf("event %d of the feed: %w", e.Sequence, err)
		}
		leaves[i] = evidence.Leaf(attributes, e.Data)
	}
	c, err := evidence.Sign(t, last.Number+1, last.Head, leaves, n.signer)
	if err != nil {
		return events.Checkpoint{}, err
	}
	err = n.feeds.Publish(ctx, t, "", c)
	if errors.Is(err, bus.ErrExists) {
		return n.same(ctx, t, c)
	}
	return c, err
}

// same compares a checkpoint with the one that is stored.
func (n *notary) same(ctx context.Context, t string, c events.Checkpoint) (events.Checkpoint, error) {
	r, err := n.feeds.StoredAt(ctx, events.SubjectOf(t, "", c))
	if err != nil {
		return events.Checkpoint{}, fmt.Errorf("read checkpoint %d: %w", c.Number, err)
	}
	stored, ok := r.Event.(events.Checkpoint)
	if !ok || !bytes.Equal(stored.Head, c.Head) {
		return events.Checkpoint{}, fmt.Errorf("checkpoint %d: %w", c.Number, errAltered)
	}
	return stored, nil
}

func (n *notary) tell(t string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if errors.Is(err, errAltered) {
		n.altered[t] = err
	} else if err == nil {
		delete(n.altered, t)
		n.signed[t] = time.Now()
	}
}

// observe measures, for each tenant, how long ago all full spans of its feed were signed; alarm on it.
func (n *notary) observe(p metric.MeterProvider, tenants func() []string) error {
	begun := time.Now()
	_, err := p.Meter("github.com/usherhq/usher/services/ledger").Float64ObservableGauge("usher.checkpoint.age", metric.WithUnit("s"),
		metric.WithDescription("time since all that can be signed of a tenant's feed was signed"),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, t := range tenants() {
				last, ever := n.signed[t]
				if !ever {
					last = begun
				}
				o.Observe(time.Since(last).Seconds(), metric.WithAttributes(attribute.String("tenant", t)))
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("make metrics of the checkpoints: %w", err)
	}
	return nil
}

// warning is for /readyz: empty where all is well.
func (n *notary) warning() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for t, err := range n.altered {
		all = append(all, fmt.Sprintf("the feed of %s: %v; run usher audit verify", t, err))
	}
	return strings.Join(all, "; ")
}

// getEvidenceKeys answers GET /v1/evidence/keys with the public keys that verify checkpoints, by
// their ids, in base64.
func (a *api) getEvidenceKeys(w http.ResponseWriter, r *http.Request) {
	p, _, ok := a.enter(w, r)
	if !ok {
		return
	}
	if !p.Has(tenant.Compliance) {
		problem(w, http.StatusForbidden, "forbidden", "the keys are for tokens of the role compliance or admin")
		return
	}
	public, err := a.env.Keys.CheckpointKeys()
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, map[string]any{"keys": public})
}
