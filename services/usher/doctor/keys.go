package doctor

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/usherhq/usher/pkg/keys"
)

// vaultAge is how old the vault's generation in use is at most where it is renewed every day.
const vaultAge = 49 * time.Hour

func (e *examination) keys(context.Context) {
	const check = "keys"
	dir := e.Getenv("USHER_KEYS")
	if dir == "" {
		e.fail(check, "USHER_KEYS is not set", "give the directory that `usher keys generate` made")
		return
	}
	all, err := keys.Inspect(dir, e.Now())
	if err != nil {
		e.fail(check, err.Error(), "run `usher keys generate "+dir+"` once for the installation, or distribute the files it made")
		return
	}
	if len(all) == 0 {
		e.fail(check, dir+" has no key file", "run `usher keys generate "+dir+"` once for the installation, or distribute the files it made")
		return
	}
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 {
		e.warn(check, dir+" is open to others", "chmod 700 "+dir)
	}
	for _, k := range all {
		e.key(k)
	}
}

func (e *examination) key(k keys.Kept) {
	check := "key " + k.Name
	if k.Err != nil {
		e.differs(check, k.Err)
		return
	}
	about := fmt.Sprintf("number of generations: %d", k.Generations)
	if !k.Since.IsZero() {
		about += ", the one in use since " + k.Since.UTC().Format(time.DateTime)
	}
	if k.Name == keys.Vault && e.Now().Sub(k.Since) > vaultAge && k.Next.IsZero() {
		e.warn(check, about+": it is not renewed every day, so what is deleted stays readable", "run `usher keys renew DIR` every day and distribute vault.json")
		return
	}
	e.ok(check, about)
}
