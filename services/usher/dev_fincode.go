package usher

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/tenant"
)

// devRSABits is the length of the keys that dev makes.
const devRSABits = 2048

// publicKey makes the RSA keys that tenants with the Fincode dialect lack, and answers
// GET /dev/fincode-public-key for the first of them: the key its clients encrypt passwords to,
// SubjectPublicKeyInfo in Base64 on one line.
func (d devCommand) publicKey() (http.Handler, error) {
	config := tenant.Demo()
	if d.Config != "" {
		var err error
		if config, err = tenant.Load(d.Config); err != nil {
			return nil, err
		}
	}
	dir, first := filepath.Join(d.Data, "keys"), ""
	for _, t := range config.Tenants {
		if t.Dialects.Fincode == nil {
			continue
		}
		if err := keys.EnsureRSA(dir, t.ID, devRSABits); err != nil {
			return nil, err
		}
		if first == "" {
			first = t.ID
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first == "" {
			http.Error(w, "no tenant has the Fincode dialect", http.StatusNotFound)
			return
		}
		key, err := newestRSA(dir, first)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, key.Public) // without a line break: many decoders take none
	}), nil
}

// newestRSA is the tenant's key that was made last and is not retired.
func newestRSA(dir, tenant string) (keys.RSAKey, error) {
	all, err := keys.ListRSA(dir, tenant)
	if err != nil {
		return keys.RSAKey{}, err
	}
	i := slices.IndexFunc(all, func(k keys.RSAKey) bool { return k.Live(time.Now()) })
	if i < 0 {
		return keys.RSAKey{}, fmt.Errorf("all keys of %s are retired; add one with `usher keys rsa add`", tenant)
	}
	return all[i], nil
}
