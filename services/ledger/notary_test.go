package ledger

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/evidence"
	"github.com/usherhq/usher/pkg/store"
)

func (w *feedWorld) notary(f feeds) *notary {
	w.t.Helper()
	b := store.NewMemory()
	if err := b.Ensure(w.t.Context(), notarySchema); err != nil {
		w.t.Fatal(err)
	}
	return newNotary(f, b, w.env.Keys.Signer(), slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// told counts the checkpoints that the stream has of a tenant.
func (w *feedWorld) told(tenant string) (n uint64) {
	w.t.Helper()
	for ; ; n++ {
		if _, err := w.env.Bus.StoredAt(w.t.Context(), events.SubjectOf(tenant, "", events.Checkpoint{Number: n + 1})); err != nil {
			return n
		}
	}
}

func TestEveryReplicaSignsTheSameAndTheStreamHasItOnce(t *testing.T) {
	w := newFeedWorld(t)
	first, second := w.notary(w.env.Bus), w.notary(w.env.Bus)
	w.publish(0, 2*evidence.Span/3) // two events short of two spans
	for _, n := range []*notary{first, second, first} {
		if err := n.catchUp(t.Context(), cloudVault); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.told(cloudVault); n != 1 {
		t.Errorf("%d spans are signed", n)
	}
	// The checkpoint is an event of the feed too, and fills the second span with one more.
	w.eventually("the feed has the checkpoint", func() bool { return w.last(cloudVault) == 2*evidence.Span-1 })
	if err := w.env.Bus.Publish(t.Context(), cloudVault, "", events.ListActivated{List: "un", Version: "1/a"}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the span is full", func() bool { return w.last(cloudVault) == 2*evidence.Span })
	if err := second.catchUp(t.Context(), cloudVault); err != nil {
		t.Fatal(err)
	}
	if err := first.catchUp(t.Context(), cloudVault); err != nil {
		t.Fatal(err)
	}
	a, _ := first.docs.Get(t.Context(), cloudVault)
	b, _ := second.docs.Get(t.Context(), cloudVault)
	if w.told(cloudVault) != 2 || a.Value.Number != 2 || !bytes.Equal(a.Value.Head, b.Value.Head) {
		t.Errorf("%d checkpoints, %+v and %+v", w.told(cloudVault), a.Value, b.Value)
	}
}

// forged is a feed in which somebody has changed an event.
type forged struct{ *bus.Bus }

func (f forged) Feed(ctx context.Context, tenant string, after uint64, limit int) ([]bus.FeedEvent, error) {
	page, err := f.Bus.Feed(ctx, tenant, after, limit)
	for i := range page {
		if page[i].Sequence == 10 {
			page[i].Data = []byte(`{"forged":true}`)
		}
	}
	return page, err
}

func TestAFeedThatWasAlteredAfterItWasSignedIsTold(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 30)
	if err := w.notary(w.env.Bus).catchUp(t.Context(), finsei); err != nil {
		t.Fatal(err)
	}
	late := w.notary(forged{w.env.Bus})
	if err := late.catchUp(t.Context(), finsei); err == nil {
		t.Fatal("an altered feed was signed")
	}
	if text := late.warning(); !strings.Contains(text, finsei) || !strings.Contains(text, "audit verify") {
		t.Errorf("it warns %q", text)
	}
}
