// Package keys holds a service's secret keys: files of one directory, in one format, in
// generations that become active at a time of their own, so that a new key is distributed
// everywhere before anything is sealed with it.
package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Names of the key files, without ".json".
const (
	ID            = "id"             // ids and MACs of requests; never rotated
	Index         = "index"          // HMACs of unique fields; never rotated
	Data          = "data"           // documents
	Vault         = "vault"          // persons in flight
	Activation    = "activation"     // activation codes
	Credential    = "credential"     // HPKE private key: opens passwords
	CredentialPub = "credential.pub" // HPKE public key: seals passwords
	Checkpoint    = "checkpoint"     // signs checkpoints of feeds
	CheckpointPub = "checkpoint.pub" // public keys of all that ever signed them
)

// ErrUnknownKey means that a sealed value names a generation this process does not have, even
// after reading the files again: it may still arrive, so the caller tries again later.
var ErrUnknownKey = errors.New("key generation is not known here")

// ErrUnsealable means that the key is known and the value does not open: it is damaged, or
// belongs to another tenant, registration or field.
var ErrUnsealable = errors.New("sealed value does not open")

// generation is one key of a file.
type generation struct {
	ID         string    `json:"id"` // 8 hex digits
	ActiveFrom time.Time `json:"activeFrom"`
	Secret     []byte    `json:"secret"`
	// RetiresAt ends an RSA key; zero for one that goes on, and for all other keys.
	RetiresAt time.Time `json:"retiresAt,omitzero"`
}

type file struct {
	Keys []generation `json:"keys"`
}

// Ring reads the keys of a directory when they are first used. Safe for concurrent use.
type Ring struct {
	dir string
	now func() time.Time

	mu       sync.Mutex
	files    map[string]file
	reread   map[string]time.Time
	sender   *credentialSender
	openKeys map[string][]byte
	derived  sync.Map // name, generation, tenant -> subkey
	rsaKeys  sync.Map // name, generation -> parsed RSA key
}

// Open returns the ring of a directory. A key file that is missing is an error only when it
// is needed: a service is given only the files it may use.
func Open(dir string) (*Ring, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("key directory: %s is a file", dir)
	}
	return &Ring{dir: dir, now: time.Now, files: map[string]file{}, reread: map[string]time.Time{}, openKeys: map[string][]byte{}}, nil
}

// Generate creates the key files that are missing, with one generation each. It never
// overwrites: the loss of a key is the loss of what it sealed.
func Generate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make key directory: %w", err)
	}
	for _, name := range []string{ID, Index, Data, Vault, Activation} {
		if err := create(dir, name, newSecret()); err != nil {
			return err
		}
	}
	return errors.Join(createCredential(dir), createCheckpoint(dir))
}

// Rotate adds a generation to the vault, data or checkpoint key, active from the given time on.
// Distribute the file to every holder before then.
func Rotate(dir, name string, activeFrom time.Time) (id string, err error) {
	if name != Vault && name != Data && name != Checkpoint {
		return "", fmt.Errorf("rotate %s: only %s, %s and %s are rotated", name, Vault, Data, Checkpoint)
	}
	f, err := read(dir, name)
	if err != nil {
		return "", err
	}
	g := newGeneration(newSecret(), activeFrom)
	if name == Checkpoint {
		if err := publish(dir, g); err != nil {
			return "", err
		}
	}
	f.Keys = append(f.Keys, g)
	return g.ID, write(dir, name, f)
}

// Retire destroys the generations that another one superseded before the given time. What
// they sealed can never be opened again.
func Retire(dir, name string, supersededBefore time.Time) (ids []string, err error) {
	if name != Vault && name != Data && name != Checkpoint {
		return nil, fmt.Errorf("retire %s: only %s, %s and %s are rotated", name, Vault, Data, Checkpoint)
	}
	f, err := read(dir, name)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(f.Keys, func(a, b generation) int { return a.ActiveFrom.Compare(b.ActiveFrom) })
	for len(f.Keys) > 1 && f.Keys[1].ActiveFrom.Before(supersededBefore) {
		ids = append(ids, f.Keys[0].ID)
		f.Keys = f.Keys[1:]
	}
	if len(ids) == 0 {
		return nil, nil
	}
	return ids, write(dir, name, f)
}

// Renew gives the vault or data key a generation for the first day (UTC) that begins at least lead
// after now, unless it has one from then on, and destroys the generations that another one
// superseded more than keep before now. Running it more or less often than daily does no harm.
func Renew(dir, name string, now time.Time, lead, keep time.Duration) (made string, destroyed []string, err error) {
	f, err := read(dir, name)
	if err != nil {
		return "", nil, err
	}
	day := now.UTC().Add(lead).Truncate(24 * time.Hour).Add(24 * time.Hour)
	if !slices.ContainsFunc(f.Keys, func(g generation) bool { return !g.ActiveFrom.Before(day) }) {
		if made, err = Rotate(dir, name, day); err != nil {
			return "", nil, err
		}
	}
	destroyed, err = Retire(dir, name, now.Add(-keep))
	return made, destroyed, err
}

// Newest tells from when on the newest generation of a key is used, as the file has it now, or had it when
// it could last be read; a key that was never renewed has the zero time.
func (r *Ring) Newest(name string) (time.Time, error) {
	f, err := read(r.dir, name)
	if err != nil {
		r.mu.Lock()
		known, ok := r.files[name]
		r.mu.Unlock()
		if !ok {
			return time.Time{}, err
		}
		f = known
	}
	return slices.MaxFunc(f.Keys, func(a, b generation) int { return a.ActiveFrom.Compare(b.ActiveFrom) }).ActiveFrom, nil
}

func newSecret() []byte {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	return secret
}

func newGeneration(secret []byte, activeFrom time.Time) generation {
	id := make([]byte, 4)
	_, _ = rand.Read(id)
	return generation{ID: hex.EncodeToString(id), ActiveFrom: activeFrom.UTC(), Secret: secret}
}

func create(dir, name string, secret []byte) error {
	if _, err := os.Stat(path(dir, name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return write(dir, name, file{Keys: []generation{newGeneration(secret, time.Time{})}})
}

func path(dir, name string) string { return filepath.Join(dir, name+".json") }

func read(dir, name string) (file, error) {
	info, err := os.Stat(path(dir, name))
	if err != nil {
		return file{}, fmt.Errorf("key %s: %w", name, err)
	}
	if exposed(info) {
		return file{}, fmt.Errorf("key %s: %s can be read by others; chmod 600, or 640 where root owns it", name, path(dir, name))
	}
	var f file
	for range 2 { // one that is being replaced can be read when it is overwritten already
		raw, err := os.ReadFile(path(dir, name))
		if err != nil {
			return file{}, fmt.Errorf("key %s: %w", name, err)
		}
		if err := json.Unmarshal(raw, &f); err == nil && len(f.Keys) > 0 {
			return f, nil
		}
	}
	return file{}, fmt.Errorf("key %s: %s is not a key file", name, path(dir, name))
}

// write replaces a file as a whole, durably, and overwrites the old one. Whoever could read that can
// read the new one.
func write(dir, name string, f file) error {
	raw, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return fmt.Errorf("write key %s: %w", name, err)
	}
	defer os.Remove(tmp.Name())
	old, err := replaced(path(dir, name))
	if err != nil {
		return fmt.Errorf("write key %s: %w", name, errors.Join(err, tmp.Close()))
	}
	defer old.Close()
	_, err = tmp.Write(raw)
	if err = errors.Join(err, likeOld(tmp, old), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write key %s: %w", name, err)
	}
	if err := os.Rename(tmp.Name(), path(dir, name)); err != nil {
		return fmt.Errorf("write key %s: %w", name, err)
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return overwrite(old)
}

// likeOld gives a new file the mode and the owners of the one that it replaces, which is nil where there
// is none.
func likeOld(made, old *os.File) error {
	if old == nil {
		return made.Chmod(0o600)
	}
	info, err := old.Stat()
	if err != nil {
		return err
	}
	return errors.Join(own(made, info), made.Chmod(info.Mode().Perm()))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// replaced opens the file that is about to be replaced; nil where there is none, or only a link to one.
func replaced(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY, 0)
}

// overwrite puts blanks in the place of a file that was replaced: its bytes, among them keys that
// are to be destroyed, would stay on the disk until others need the room.
func overwrite(f *os.File) error {
	if f == nil {
		return nil
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(bytes.Repeat([]byte{' '}, int(info.Size())), 0)
	}
	if err = errors.Join(err, f.Sync()); err != nil {
		return fmt.Errorf("overwrite replaced keys: %w", err)
	}
	return nil
}

func (r *Ring) file(name string) (file, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.files[name]; ok {
		return f, nil
	}
	return r.load(name)
}

func (r *Ring) load(name string) (file, error) {
	f, err := read(r.dir, name)
	if err != nil {
		return file{}, err
	}
	r.forget(name, f)
	r.files[name] = f
	return f, nil
}

// forget drops what was derived from generations that the file does not have any more.
func (r *Ring) forget(name string, now file) {
	for _, g := range r.files[name].Keys {
		if slices.ContainsFunc(now.Keys, func(kept generation) bool { return kept.ID == g.ID }) {
			continue
		}
		r.derived.Range(func(key, _ any) bool {
			if strings.HasPrefix(key.(string), g.ID+infoOf(name)) {
				r.derived.Delete(key)
			}
			return true
		})
	}
}

// refreshEvery bounds how often an unknown generation makes the ring read a file again, and
// how late it is noticed that a generation is new or destroyed.
const refreshEvery = time.Minute

// active returns the generation to seal with: the newest whose time has come.
func (r *Ring) active(name string) (generation, error) {
	r.refresh(name, refreshEvery)
	f, err := r.file(name)
	if err != nil {
		return generation{}, err
	}
	now := r.now()
	var best *generation
	for i, g := range f.Keys {
		if !g.ActiveFrom.After(now) && (best == nil || g.ActiveFrom.After(best.ActiveFrom)) {
			best = &f.Keys[i]
		}
	}
	if best == nil {
		return generation{}, fmt.Errorf("key %s: no generation is active yet", name)
	}
	return *best, nil
}

// find returns a generation by its id; an unknown one makes the ring read the file again, at
// most every second.
func (r *Ring) find(name, id string) (generation, error) {
	r.refresh(name, refreshEvery)
	for range 2 {
		f, err := r.file(name)
		if err != nil {
			return generation{}, err
		}
		if i := slices.IndexFunc(f.Keys, func(g generation) bool { return g.ID == id }); i >= 0 {
			return f.Keys[i], nil
		}
		r.refresh(name, time.Second)
	}
	return generation{}, fmt.Errorf("key %s: %w", name, ErrUnknownKey)
}

// refresh reads a file again unless that was done within the interval. A file that cannot be
// read leaves the keys that are known.
func (r *Ring) refresh(name string, interval time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); now.Sub(r.reread[name]) >= interval {
		r.reread[name] = now
		_, _ = r.load(name)
	}
}
