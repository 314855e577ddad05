package ledger

import (
	"errors"
	"net/http"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

// deletePersonalData answers DELETE /v1/registrations/{id}/personal-data for registrations of any
// age: 202 once the erasure is stored.
func (a *api) deletePersonalData(w http.ResponseWriter, r *http.Request) {
	p, t, ok := a.enter(w, r)
	if !ok {
		return
	}
	if !p.Has(tenant.Admin) {
		problem(w, http.StatusForbidden, "forbidden", "only an administrator erases")
		return
	}
	id, found, ok := a.asked(w, r, t)
	if !ok {
		return
	}
	var err error
	if found.Status != events.StatusErased {
		err = a.env.Bus.Publish(r.Context(), t, id, events.ErasureRequested{Actor: p.Subject})
	}
	if err != nil && !errors.Is(err, bus.ErrExists) {
		a.failed(w, r, err)
		return
	}
	path := "/v1/registrations/" + id
	w.Header().Set("Location", path)
	write(w, http.StatusAccepted, "application/json", map[string]any{
		"id": id, "status": found.Status, "awaiting": events.Awaits(found.records(id), events.AfterErasure), "statusUrl": path,
	})
}
