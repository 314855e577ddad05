package webhooks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/pkg/store"
)

const (
	sweepPage = 1000
	// deletedRest is how long after its end everybody knows of it and no request is under way.
	deletedRest = 2 * rereadEvery
)

// sweep forgets what the log has kept long enough, and what is kept of deleted endpoints.
func (d *Dispatcher) sweep(ctx context.Context) error {
	old := store.Query{Range: &store.Range{Field: "expiresAt", From: 0, To: time.Now().UnixMilli()}, Order: "expiresAt", Limit: sweepPage}
	if err := d.forget(ctx, old); err != nil {
		return err
	}
	d.mu.Lock()
	deleted := maps.Clone(d.deleted)
	d.mu.Unlock()
	for id, e := range deleted {
		if time.Since(time.UnixMilli(e.ChangedAt)) < deletedRest {
			continue
		}
		if err := d.forgetEndpoint(ctx, id); err != nil {
			return fmt.Errorf("forget deleted webhook: %w", err)
		}
		d.mu.Lock()
		delete(d.deleted, id)
		d.mu.Unlock()
	}
	return nil
}

func (d *Dispatcher) forgetEndpoint(ctx context.Context, id string) error {
	if err := d.forget(ctx, store.Query{Where: store.Fields{"endpoint": id}, Order: "at", Limit: sweepPage}); err != nil {
		return err
	}
	return errors.Join(d.courses.Delete(ctx, id), d.endpoints.Delete(ctx, id))
}

// forget deletes all deliveries that a query finds.
func (d *Dispatcher) forget(ctx context.Context, q store.Query) error {
	for {
		page, _, err := d.deliveries.Find(ctx, q)
		if err != nil {
			return fmt.Errorf("find deliveries to forget: %w", err)
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(batch)
		for _, s := range page {
			group.Go(func() error { return d.deliveries.Delete(ctx, s.ID) })
		}
		if err := group.Wait(); err != nil {
			return fmt.Errorf("forget deliveries: %w", err)
		}
		if len(page) < q.Limit {
			return nil
		}
	}
}
