package app

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"

	"github.com/usherhq/usher/pkg/keys"
)

// observeKeys measures from when on the newest generation of the vault's key is used: a key that is
// renewed every day has one of today or tomorrow. A process without the key measures nothing.
func observeKeys(p metric.MeterProvider, ring *keys.Ring) error {
	_, err := p.Meter("github.com/usherhq/usher/pkg/app").Int64ObservableGauge("usher.keys.vault_newest", metric.WithUnit("s"),
		metric.WithDescription("when the newest generation of the vault's key comes into use, in Unix time"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			if newest, err := ring.Newest(keys.Vault); err == nil {
				o.Observe(newest.Unix())
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("make metrics of the keys: %w", err)
	}
	return nil
}
