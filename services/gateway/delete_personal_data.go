package gateway

import (
	"errors"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

var (
	erasedUnder = fail(http.StatusUnprocessableEntity, "erased",
		"the registration of this Idempotency-Key was erased; send a new key for a new registration")
	erasedAccount = fail(http.StatusGone, "erased", "the account was erased")
)

// erasing reports whether the person of a history is erased because somebody asked for it, or is to be.
func erasing(history []events.Record) bool {
	_, _, requested := find[events.ErasureRequested](history)
	_, _, erased := find[events.Erased](history)
	return requested || erased && events.Fold(history).Outcome != events.OutcomeExpired
}

// erasureReceipt answers for an erasure.
type erasureReceipt struct {
	ID        string           `json:"id"`
	Status    events.Status    `json:"status"`
	Awaiting  []events.Service `json:"awaiting"` // who has not answered yet
	StatusURL string           `json:"statusUrl"`
}

// deletePersonalData answers DELETE /v1/registrations/{id}/personal-data: 202 once the erasure is
// stored, or 200 once every service has answered it. Prefer: wait=N waits for them.
func (g *gateway) deletePersonalData(w http.ResponseWriter, r *http.Request) {
	c, _, f := g.readAs(r, tenant.Admin)
	if f != nil {
		nativeFail(w, f)
		return
	}
	id := mux.Vars(r)["id"]
	watch, err := g.watch(c.tenant.ID, id)
	if err != nil {
		nativeFail(w, notErased)
		return
	}
	defer watch.stop()
	err = g.env.Bus.Publish(r.Context(), c.tenant.ID, id, events.ErasureRequested{Actor: c.Subject})
	if err != nil && !errors.Is(err, bus.ErrExists) {
		g.env.Log.WarnContext(r.Context(), "erasure not stored", "error", err)
		nativeFail(w, notErased)
		return
	}
	prefer := preferenceOf(r)
	history, erased := watch.until(r.Context(), prefer.within(0), func(h []events.Record) bool { return events.Fold(h).Status == events.StatusErased })
	prefer.header(w)
	w.Header().Set("X-Registration-ID", id)
	w.Header().Set("Location", statusPath(id))
	status := http.StatusAccepted
	if erased {
		status = http.StatusOK
	}
	writeJSON(w, status, erasureReceipt{id, events.Fold(history).Status, events.Awaits(history, events.AfterErasure), statusPath(id)})
}

var notErased = unavailable("the erasure may not be stored; send it again")
