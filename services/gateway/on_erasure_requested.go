package gateway

import (
	"context"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
)

var tombstoneSchema = store.Schema{Collection: "tombstones"}

// tombstone says that the person of a tenant's registration is erased.
type tombstone struct {
	Tenant string `json:"tenant"`
}

func (tombstone) fields() store.Fields { return nil }

// tombstoneID has the tenant, so that an erasure under a wrong one neither replaces the right one's
// tombstone nor stands in its way.
func tombstoneID(tenant, registration string) string { return tenant + "/" + registration }

// erasure is the gateway's part of it: the vault, into which it puts persons.
type erasure struct {
	tombstones *store.Docs[tombstone]
	vault      eraser
	stream     histories
}

type eraser interface {
	Erase(ctx context.Context, tenant, registration string) error
	Holders(ctx context.Context) ([]vault.Holder, error)
}

type histories interface {
	LeaderHistory(ctx context.Context, tenant, registration string) ([]events.Record, error)
}

func newErasure(env *app.Env) *erasure {
	return &erasure{store.NewDocs(env.Store, tombstoneSchema, tombstone.fields), env.Vault, env.Bus}
}

// onErasureRequested takes the person out of the vault. The answer comes last, from onErased.
func (e *erasure) onErasureRequested(ctx context.Context, in bus.In[events.ErasureRequested]) (events.Event, error) {
	return nil, e.bury(ctx, in.Subject)
}

// onRegistrationExpired does the same for whom nobody activated.
func (e *erasure) onRegistrationExpired(ctx context.Context, in bus.In[events.Expired]) (events.Event, error) {
	return nil, e.bury(ctx, in.Subject)
}

func (e *erasure) bury(ctx context.Context, s events.Subject) error {
	if err := e.tombstones.Put(ctx, tombstoneID(s.Tenant, s.Registration), tombstone{s.Tenant}); err != nil {
		return fmt.Errorf("keep tombstone: %w", err)
	}
	return e.vault.Erase(ctx, s.Tenant, s.Registration)
}
