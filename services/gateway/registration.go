package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/tenant"
)

// getRegistration answers GET /v1/registrations/{id} from the stream.
func (g *gateway) getRegistration(w http.ResponseWriter, r *http.Request) {
	c, history, f := g.read(r)
	if f != nil {
		nativeFail(w, f)
		return
	}
	w.Header().Set("X-Registration-ID", mux.Vars(r)["id"])
	writeJSON(w, http.StatusOK, app.View(c.tenant.ID, mux.Vars(r)["id"], events.Fold(history), c.Has(tenant.Compliance)))
}

// read authenticates and reads the history that the path names.
func (g *gateway) read(r *http.Request) (caller, []events.Record, *failure) {
	return g.readAs(r, tenant.Channel, tenant.Operator, tenant.Reviewer, tenant.Compliance)
}

// readAs is read for who has one of the roles.
func (g *gateway) readAs(r *http.Request, roles ...tenant.Role) (caller, []events.Record, *failure) {
	c, f := g.access.enter(r, roles...)
	if f != nil {
		return c, nil, f
	}
	history, err := g.env.Bus.History(r.Context(), c.tenant.ID, mux.Vars(r)["id"])
	if err != nil {
		g.env.Log.WarnContext(r.Context(), "history not read", "error", err)
		return c, nil, unavailable("the registration cannot be read now; retry later")
	}
	if events.Fold(history).Status == "" { // none, or notices of a registration that the stream has forgotten
		return c, nil, fail(http.StatusNotFound, "not-found", "the tenant has no such registration, or it is older than the stream keeps: ask the ledger")
	}
	return c, history, nil
}

const (
	streamTime  = 15 * time.Minute // the longest life of one event stream; the client reconnects
	streamStall = 30 * time.Second // a client that does not read is cut off
)

// streamRegistration answers GET /v1/registrations/{id}/events: the same as a status, each
// time it changes, until the registration has ended.
func (g *gateway) streamRegistration(w http.ResponseWriter, r *http.Request) {
	c, _, f := g.read(r)
	if f != nil {
		nativeFail(w, f)
		return
	}
	id := mux.Vars(r)["id"]
	watch, err := g.watch(c.tenant.ID, id)
	if err != nil {
		nativeFail(w, unavailable("the registration cannot be watched now; retry later"))
		return
	}
	defer watch.stop()
	stream := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Registration-ID", id)
	sent := 0
	watch.until(r.Context(), streamTime, func(history []events.Record) bool {
		if len(history) == sent {
			return false
		}
		sent = len(history)
		state := events.Fold(history)
		body, err := json.Marshal(app.View(c.tenant.ID, id, state, c.Has(tenant.Compliance)))
		if err != nil {
			return true
		}
		_ = stream.SetWriteDeadline(time.Now().Add(streamStall))
		_, err = fmt.Fprintf(w, "id: %d\nevent: status\ndata: %s\n\n", sent, body)
		return err != nil || stream.Flush() != nil || state.Terminal()
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}
