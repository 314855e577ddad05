// Package webhooks delivers a tenant's feed to the URLs it names, signed as Standard Webhooks has
// it. Endpoints are the tenant's settings; a Dispatcher delivers to them.
package webhooks

import (
	"slices"

	"github.com/usherhq/usher/pkg/store"
)

// Schemas are the collections of this package.
var Schemas = []store.Schema{endpointSchema, courseSchema, deliverySchema}

var endpointSchema = store.Schema{Collection: "webhooks", Index: [][]string{{"tenant", "createdAt"}, {"changedAt"}}}

// State says whether an endpoint is delivered to.
type State string

// States of an endpoint.
const (
	Enabled  State = "enabled"
	Paused   State = "paused"   // by an operator
	Disabled State = "disabled" // by us, with a reason
	// Deleted is of an endpoint that nobody sees any more; what is kept of it is being removed.
	Deleted State = "deleted"
)

// Endpoint is what a tenant has asked for: where its events go. Times are Unix milliseconds.
type Endpoint struct {
	ID          string   `json:"id"`
	Tenant      string   `json:"tenant"`
	URL         string   `json:"url"`
	Description string   `json:"description,omitempty"`
	Types       []string `json:"types,omitempty"` // of events; all where empty
	// Ordered delivers one event after another: one that fails keeps the later ones waiting.
	Ordered   bool     `json:"ordered,omitempty"`
	State     State    `json:"state"`
	Reason    string   `json:"reason,omitempty"` // why it is disabled
	Secrets   []Secret `json:"secrets"`
	Begin     uint64   `json:"begin"` // its first event is the one after this place in the feed
	CreatedAt int64    `json:"createdAt"`
	ChangedAt int64    `json:"changedAt"`
}

// fields leaves the tenant out once the endpoint is deleted: no list finds it.
func (e Endpoint) fields() store.Fields {
	f := store.Fields{"changedAt": e.ChangedAt}
	if e.State != Deleted {
		f["tenant"], f["createdAt"] = e.Tenant, e.CreatedAt
	}
	return f
}

// wants reports whether events of a type go to the endpoint.
func (e Endpoint) wants(kind string) bool { return len(e.Types) == 0 || slices.Contains(e.Types, kind) }
