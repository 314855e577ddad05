package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/usherhq/usher/pkg/vault"
)

const (
	sweepEvery = 10 * time.Minute
	sweepBatch = 500
)

// sweep takes out of the vault, at once and then from time to time, what a gateway that died left
// there when it repeated a request of a registration that is erased. It ends with ctx.
func (e *erasure) sweep(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := e.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "vault not swept for what is erased", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (e *erasure) sweepOnce(ctx context.Context) error {
	holders, err := e.vault.Holders(ctx)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(holders, sweepBatch) {
		if err := e.sweepSome(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func (e *erasure) sweepSome(ctx context.Context, holders []vault.Holder) error {
	var ids []string
	for _, h := range holders {
		ids = append(ids, h.Registration, tombstoneID(h.Tenant, h.Registration)) // the first as versions before this one have it
	}
	buried, err := e.tombstones.GetMany(ctx, ids...)
	if err != nil {
		return fmt.Errorf("read tombstones: %w", err)
	}
	for _, h := range holders {
		_, is := buried[tombstoneID(h.Tenant, h.Registration)]
		if !is && buried[h.Registration].Value.Tenant != h.Tenant {
			continue
		}
		if err := e.vault.Erase(ctx, h.Tenant, h.Registration); err != nil {
			return err
		}
	}
	return nil
}
