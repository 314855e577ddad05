package usher

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
)

type rsaCommand struct {
	Add    rsaAdd    `cmd:"" help:"Make a key beside those that are there, and print its public key for the clients. Give the gateways the file first: they notice it within a minute."`
	Retire rsaRetire `cmd:"" help:"End a key at a time. Until then it opens; no restart is needed."`
	List   rsaList   `cmd:"" help:"List a tenant's keys, the newest first, with their public keys."`
}

// rsaFile names a tenant's key file.
type rsaFile struct {
	Dir    string `arg:"" help:"Directory of the key files."`
	Tenant string `arg:"" help:"Id of the tenant."`
}

// Validate keeps the file within its directory; kong calls it.
func (f rsaFile) Validate() error {
	if !events.ValidToken(f.Tenant) {
		return errors.New("TENANT is not 1 to 64 of A-Z a-z 0-9 _ -")
	}
	return nil
}

type rsaAdd struct {
	rsaFile
	Bits int `default:"2048" enum:"2048,3072,4096" help:"Length of the modulus. A request costs about three times as much at the next length."`
	format
}

func (a rsaAdd) Run(out io.Writer) error {
	k, err := keys.AddRSA(a.Dir, a.Tenant, a.Bits)
	if err != nil {
		return err
	}
	return a.print(out, []rsaKey{shownRSA(k)}, func(out io.Writer) error { describeRSA(out, k); return nil })
}

// rsaKey is a key as JSON tells of it.
type rsaKey struct {
	ID        string    `json:"id"`
	Bits      int       `json:"bits"`
	Since     time.Time `json:"since"`
	RetiresAt time.Time `json:"retiresAt,omitzero"`
	Live      bool      `json:"live"`
	Public    string    `json:"public"`
}

func shownRSA(k keys.RSAKey) rsaKey {
	return rsaKey{ID: k.ID, Bits: k.Bits, Since: k.Since.UTC(), RetiresAt: k.RetiresAt, Live: k.Live(time.Now()), Public: k.Public}
}

var rsaShape = []rsaKey{{RetiresAt: time.Unix(0, 0)}}

func (rsaAdd) shape() any    { return rsaShape }
func (rsaRetire) shape() any { return map[string]string{"id": "", "retiresAt": ""} }
func (rsaList) shape() any   { return rsaShape }

type rsaRetire struct {
	rsaFile
	ID string        `arg:"" help:"Id of the key, as the list has it."`
	In time.Duration `default:"720h" help:"How long it still opens; 0s ends it within a minute."`
	format
}

func (r rsaRetire) Run(out io.Writer) error {
	at := time.Now().Add(r.In)
	if err := keys.RetireRSA(r.Dir, r.Tenant, r.ID, at); err != nil {
		return err
	}
	ends := at.UTC().Format(time.RFC3339)
	return r.print(out, map[string]string{"id": r.ID, "retiresAt": ends}, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "key %s of %s is retired at %s\n", r.ID, r.Tenant, ends)
		return err
	})
}

type rsaList struct {
	rsaFile
	format
}

func (l rsaList) Run(out io.Writer) error {
	all, err := keys.ListRSA(l.Dir, l.Tenant)
	if err != nil {
		return err
	}
	shown := []rsaKey{}
	for _, k := range all {
		shown = append(shown, shownRSA(k))
	}
	return l.print(out, shown, func(out io.Writer) error {
		for _, k := range all {
			describeRSA(out, k)
		}
		return nil
	})
}

func describeRSA(out io.Writer, k keys.RSAKey) {
	end := "goes on"
	switch {
	case !k.Live(time.Now()):
		end = "retired"
	case !k.RetiresAt.IsZero():
		end = "until " + k.RetiresAt.UTC().Format(time.RFC3339)
	}
	fmt.Fprintf(out, "%s  %d bits  since %s  %s\n%s\n", k.ID, k.Bits, k.Since.UTC().Format(time.RFC3339), end, k.Public)
}
