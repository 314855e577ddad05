package store_test

import (
	"testing"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() store.Backend {
		m := store.NewMemory()
		return func() store.Backend { return m }
	})
}
