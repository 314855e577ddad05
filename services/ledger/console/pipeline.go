package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/usherhq/usher/events"
)

const (
	pictureEvery = time.Second
	countsEvery  = 2 * time.Second
	streamBeat   = 10 * time.Second // how often it is asked whether a stream's token still holds
	streamStall  = 30 * time.Second // a browser that does not read is cut off
)

// live is what a browser gets again and again.
type live struct {
	Picture
	Counts Counts `json:"counts"`
}

type pipelinePage struct {
	live
	Ledger Stage
	Open   []events.Status // those that have not ended
	Ended  []events.Status
}

func (k *console) pipeline(v *visit) (string, string, any, error) {
	now, err := k.look(v.Context(), v.tenant.ID)
	page := pipelinePage{live: now}
	for _, s := range events.Statuses {
		switch s {
		case events.StatusActivated, events.StatusRejected, events.StatusExpired, events.StatusErased:
			page.Ended = append(page.Ended, s)
		default:
			page.Open = append(page.Open, s)
		}
	}
	page.Stages = slices.Clone(now.Stages)
	page.Stages = slices.DeleteFunc(page.Stages, func(s Stage) bool {
		if s.Service == events.Ledger {
			page.Ledger = s
		}
		return s.Service == events.Ledger
	})
	return "Pipeline", "pipeline", page, err
}

func (k *console) look(ctx context.Context, tenant string) (live, error) {
	counts, err := k.Pipeline.Counts(ctx, tenant)
	return live{k.Pipeline.Picture(tenant), counts}, err
}

// streamPipeline sends the picture every second, as server-sent events, until the session's token
// does not allow it any more.
func (k *console) streamPipeline(w http.ResponseWriter, r *http.Request) {
	v, ok := k.enter(w, r, pipelinePlace)
	if !ok {
		return
	}
	release, ok := k.Pipeline.Watch(v.tenant.ID)
	if !ok {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many streams are open", http.StatusTooManyRequests)
		return
	}
	defer release()
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	tick := time.NewTicker(pictureEvery)
	defer tick.Stop()
	var now live
	for asked, counted := time.Now(), (time.Time{}); ; {
		now.Picture = k.Pipeline.Picture(v.tenant.ID)
		if time.Since(counted) >= countsEvery {
			if counts, err := k.Pipeline.Counts(r.Context(), v.tenant.ID); err == nil {
				now.Counts, counted = counts, time.Now()
			}
		}
		body, err := json.Marshal(now)
		if err != nil {
			return
		}
		_ = control.SetWriteDeadline(time.Now().Add(streamStall))
		if _, err := fmt.Fprintf(w, "data: %s\n\n", body); err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-k.Ending:
			return
		case <-tick.C:
		}
		if time.Since(asked) >= streamBeat {
			if !k.stillAllowed(v) {
				return
			}
			asked = time.Now()
		}
	}
}

// stillAllowed asks again what enter asked: a token may be revoked while its stream is open.
func (k *console) stillAllowed(v *visit) bool {
	_, who, err := k.signedIn(v.Request)
	_, known := k.Tenants().Tenant(v.tenant.ID)
	return err == nil && known && who.Allows(v.tenant.ID) && pipelinePlace.allows(who)
}
