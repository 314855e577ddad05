package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

func (e *examination) store(ctx context.Context) {
	const check = "store"
	url := e.Getenv("STORE_URL")
	if url == "" {
		e.fail(check, "STORE_URL is not set", "give sqlite://DIR or mongodb://HOST/DATABASE")
		return
	}
	for _, s := range e.Services {
		if !e.documents(ctx, url, s) {
			return
		}
	}
}

// documents looks at the collections and unique indexes of a service, and reports whether the others
// can be looked at.
func (e *examination) documents(ctx context.Context, url string, s app.Service) bool {
	check := "documents of " + string(s.Name)
	if dir, embedded := strings.CutPrefix(url, "sqlite://"); embedded {
		file := filepath.Join(dir, string(s.Name)+".db")
		if _, err := os.Stat(file); err != nil { // opening would make it
			e.fail(check, "there is no "+file, "run `usher topology apply`, or look on the machine of "+string(s.Name))
			return true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	backend, err := store.Open(ctx, url, string(s.Name), nil)
	if err != nil {
		e.differs("store", err)
		return false
	}
	defer backend.Close()
	if err := backend.Ping(ctx); err != nil {
		e.fail("store", reason(err), "is the database of STORE_URL running, and does it take these credentials?")
		return false
	}
	err = backend.Verify(ctx, append([]store.Schema{bus.ParkedSchema}, s.Schemas...)...)
	if errors.Is(err, store.ErrUnreachable) {
		e.fail("store", reason(err), "is the database of STORE_URL running?")
		return false
	}
	each(err, func(err error) { e.differs(check, err) })
	if err == nil {
		e.ok(check, fmt.Sprintf("%d collections with their indexes", len(s.Schemas)+1))
	}
	return true
}
