package usher

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/evidence"
)

// feedDesk is the ledger as a compliance system reaches it.
type feedDesk struct{ ledgerDesk }

// follow reads the feed in order, all of it, until each returns io.EOF or the feed's end.
func (d feedDesk) follow(ctx context.Context, purpose, types string, each func(evidence.Event) error) error {
	query := url.Values{"limit": {"1000"}, "purpose": {purpose}}
	if types != "" {
		query.Set("types", types)
	}
	for {
		page, next, err := d.page(ctx, query)
		if err != nil {
			return err
		}
		for _, line := range page {
			e, _, err := evidence.ReadEvent(line)
			if err == nil {
				err = each(e)
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		if len(page) == 0 && next == query.Get("after") {
			return nil
		}
		query.Set("after", next)
	}
}

// page reads a part of the feed, and the cursor after the last event that was looked at: events of
// other types than the query's move it too.
func (d feedDesk) page(ctx context.Context, query url.Values) (page []json.RawMessage, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	response, err := d.send(ctx, d.peer(), http.MethodGet, "/v1/events?"+query.Encode(), "application/json", http.NoBody)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
		return nil, "", errors.New("the answer of the ledger cannot be read")
	}
	link, _, _ := strings.Cut(strings.TrimPrefix(response.Header.Get("Link"), "<"), ">")
	following, err := url.Parse(link)
	if err != nil {
		return nil, "", errors.New("the answer of the ledger does not say where the feed goes on")
	}
	return page, following.Query().Get("after"), nil
}

func (d feedDesk) keys(ctx context.Context) (evidence.Keys, error) {
	var answer struct{ Keys evidence.Keys }
	err := d.ask(ctx, http.MethodGet, "/v1/evidence/keys", nil, &answer)
	return answer.Keys, err
}

// checkpoints are all that the feed has.
func (d feedDesk) checkpoints(ctx context.Context, purpose string) (evidence.Signed, error) {
	all := evidence.Signed{}
	err := d.follow(ctx, purpose, events.Checkpoint{}.Type(), func(e evidence.Event) error {
		if c, ok := checkpointOf(e); ok {
			all[c.Number] = c
		}
		return nil
	})
	return all, err
}

// checkpointOf is the one that an event tells of.
func checkpointOf(e evidence.Event) (c events.Checkpoint, ok bool) {
	ok = e.Attributes["type"] == c.Type() && json.Unmarshal(e.Data, &c) == nil
	return c, ok
}
