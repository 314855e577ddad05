package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

const (
	usualEvents = 100
	mostEvents  = 1000
	// mostSkipped bounds the events that one request looks at for those of its types.
	mostSkipped = 20 * mostEvents
)

// cursor is a place in a tenant's feed as its readers see it: opaque, and of no use for another
// tenant. The empty cursor stands before the oldest event.
type cursor string

var errCursor = errors.New("not a cursor of this tenant's feed")

func cursorOf(tenant string, sequence uint64) cursor {
	return cursor(base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(feedMark(tenant), sequence)))
}

// feedMark makes another tenant's cursor, and most mistakes, readable as such.
func feedMark(tenant string) []byte {
	sum := sha256.Sum256([]byte("feed " + tenant))
	return sum[:4:4]
}

// sequence returns the place of the event that the cursor was given with.
func (c cursor) sequence(tenant string) (uint64, error) {
	if c == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(c))
	if err != nil || len(raw) != 12 || string(raw[:4]) != string(feedMark(tenant)) {
		return 0, errCursor
	}
	return binary.BigEndian.Uint64(raw[4:]), nil
}

// fed is an event for a reader of the feed, as CloudEvents JSON.
type fed struct {
	sequence uint64
	cursor   cursor
	kind     string
	body     []byte
}

// feedQuery is what a reader wants to have.
type feedQuery struct {
	tenant  string
	actor   string
	purpose string
	after   uint64
	types   []string // all where empty
	limit   int
}

// feedQueryOf reads after, types, limit and purpose.
func feedQueryOf(r *http.Request, t string) (q feedQuery, complaint string) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, "the query cannot be read; write it as name=value&name=value, percent-encoded"
	}
	for name, values := range v {
		if !slices.Contains([]string{"after", "types", "limit", "purpose"}, name) || len(values) > 1 {
			return q, "the query may have after, types, limit and purpose, each once"
		}
	}
	q = feedQuery{tenant: t, limit: usualEvents}
	if q.after, err = cursor(v.Get("after")).sequence(t); err != nil {
		return q, "after is not a cursor of this tenant's feed; use the cursor of an event, or none to begin with the oldest"
	}
	if types := v.Get("types"); types != "" {
		q.types = strings.Split(types, ",")
	}
	for _, name := range q.types {
		if _, known := events.Blank(name); !known {
			return q, "types names an unknown type of event; separate those of the documentation by commas"
		}
	}
	if q.purpose = v.Get("purpose"); !slices.Contains([]string{"", readFeed, readExport, readAudit}, q.purpose) {
		return q, "purpose, by which the access is recorded, is feed, export or audit"
	}
	if l := v.Get("limit"); l != "" {
		if q.limit, err = strconv.Atoi(l); err != nil || q.limit < 1 || q.limit > mostEvents {
			return q, fmt.Sprintf("limit is not a number from 1 to %d", mostEvents)
		}
	}
	return q, ""
}

// read is next, told of.
func (a *api) read(ctx context.Context, q feedQuery) (page []fed, after uint64, err error) {
	if page, after, err = a.next(ctx, q); err == nil {
		err = a.accesses.page(ctx, q, page)
	}
	return page, after, err
}

// next returns the events that follow, and the place after the last event it looked at, which
// moves on also where none is of the types.
func (a *api) next(ctx context.Context, q feedQuery) (page []fed, after uint64, err error) {
	after = q.after
	for looked := 0; len(page) < q.limit && looked < mostSkipped; {
		want := q.limit - len(page)
		if len(q.types) > 0 {
			want = mostEvents
		}
		batch, err := a.env.Bus.Feed(ctx, q.tenant, after, want)
		if err != nil {
			return nil, after, err
		}
		for _, e := range batch {
			if len(page) == q.limit {
				return page, after, nil
			}
			after = e.Sequence
			if page, err = appendFed(page, q, e); err != nil {
				return nil, after, err
			}
		}
		looked += len(batch)
		if len(batch) < want {
			break
		}
	}
	return page, after, nil
}

func appendFed(page []fed, q feedQuery, e bus.FeedEvent) ([]fed, error) {
	kind := ""
	if v := e.Header["ce-type"]; len(v) == 1 {
		kind = v[0]
	}
	if len(q.types) > 0 && !slices.Contains(q.types, kind) {
		return page, nil
	}
	body, err := structured(q.tenant, e)
	if err != nil {
		return nil, err
	}
	return append(page, fed{e.Sequence, cursorOf(q.tenant, e.Sequence), kind, body}), nil
}

// structured writes an event of a feed as CloudEvents JSON with its place.
func structured(tenant string, e bus.FeedEvent) ([]byte, error) {
	body, err := events.Structured(e.Header, e.Data, map[string]string{
		"cursor": string(cursorOf(tenant, e.Sequence)), "sequence": strconv.FormatUint(e.Sequence, 10),
	})
	if err != nil {
		return nil, fmt.Errorf("event %d of the feed: %w", e.Sequence, err)
	}
	return body, nil
}

// getEvents answers GET /v1/events?after=&types=&limit= with a CloudEvents batch, in the order
// of the feed. The header Link rel="next" is where to go on, also after an empty batch.
func (a *api) getEvents(w http.ResponseWriter, r *http.Request) {
	q, ok := a.enterFeed(w, r)
	if !ok {
		return
	}
	if q.purpose == "" {
		q.purpose = readFeed
	}
	page, after, err := a.read(r.Context(), q)
	if err != nil {
		a.feedFailed(w, r, err)
		return
	}
	next := url.Values{"after": {string(cursorOf(q.tenant, after))}, "limit": {strconv.Itoa(q.limit)}}
	if after == 0 {
		next.Del("after")
	}
	if len(q.types) > 0 {
		next.Set("types", strings.Join(q.types, ","))
	}
	if q.purpose != readFeed {
		next.Set("purpose", q.purpose)
	}
	w.Header().Set("Link", fmt.Sprintf(`</v1/events?%s>; rel="next"`, next.Encode()))
	w.Header().Set("Content-Type", "application/cloudevents-batch+json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(batchOf(page))
}

func batchOf(page []fed) []byte {
	size := 2
	for _, e := range page {
		size += len(e.body) + 1
	}
	body := append(make([]byte, 0, size), '[')
	for i, e := range page {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e.body...)
	}
	return append(body, ']')
}

// enterFeed admits compliance and admin.
func (a *api) enterFeed(w http.ResponseWriter, r *http.Request) (feedQuery, bool) {
	p, t, ok := a.enter(w, r)
	if !ok {
		return feedQuery{}, false
	}
	if !p.Has(tenant.Compliance) {
		problem(w, http.StatusForbidden, "forbidden", "the feed is for tokens of the role compliance or admin")
		return feedQuery{}, false
	}
	q, complaint := feedQueryOf(r, t)
	if complaint != "" {
		problem(w, http.StatusBadRequest, "malformed", complaint)
		return feedQuery{}, false
	}
	q.actor = p.Subject
	return q, true
}

func (a *api) feedFailed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, bus.ErrFeedMoved):
		w.Header().Set("Link", `</v1/events>; rel="first"`)
		problem(w, http.StatusGone, "gone", "the feed does not continue from this cursor: what followed is older than it keeps, or it was made anew; begin again without after")
	case errors.Is(err, bus.ErrNoFeed):
		problem(w, http.StatusServiceUnavailable, "tenant-not-provisioned", "the tenant has no feed yet; its operator runs usher topology apply")
	default:
		a.env.Log.WarnContext(r.Context(), "feed not read", "error", err)
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, "unavailable", "the feed cannot be read now; retry later")
	}
}
