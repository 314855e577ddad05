package gateway

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/gateway/jsonbody"
)

const (
	// storeTimeout bounds the time until a registration is stored, or its client hears 503.
	storeTimeout = 6 * time.Second
	// mostStoring bounds the registrations that are being stored at once: where more come than
	// the machine bears, some are late, rather than all too late and none of the work of use.
	mostStoring = 256
	// turnTimeout bounds the wait for a turn, in which nothing is promised or begun.
	turnTimeout = 4 * time.Second
)

// intake stores registrations.
type intake struct {
	bus   *bus.Bus
	vault *vault.Vault
	keys  *keys.Ring
	// config is the one in force: a request that took long is not stored for a tenant that was
	// disabled or removed meanwhile.
	config *tenant.Live
	room   *bus.HighWater
	open   *unfinished
	turns  *semaphore.Weighted // of registrations being stored
}

// submission is one decoded request for a registration. It is personal data.
type submission struct {
	tenant       *tenant.Tenant
	registration events.Registration
	password     string
	id           string // of the registration: the same for the same idempotency key
	audit        *events.Audit
}

// accept returns once the registration is stored. The same id with the same content is the
// same registration; with another content it is refused with 422. A 503 leaves it unknown
// whether the registration is stored: the same idempotency key finds it.
func (i *intake) accept(ctx context.Context, s submission) (acceptedAt time.Time, f *failure) {
	if err := i.ready(); err != nil {
		return time.Time{}, unavailable("registrations cannot be stored now; retry with the same Idempotency-Key")
	}
	release, f := i.open.admit(s.tenant)
	if f != nil {
		return time.Time{}, f
	}
	defer release()
	if err := i.turn(ctx); err != nil {
		return time.Time{}, unavailable("more registrations come than can be stored now; retry with the same Idempotency-Key")
	}
	defer i.turns.Release(1)
	if t, known := i.config.Tenant(s.tenant.ID); !known || t.Disabled {
		return time.Time{}, tenantDisabled()
	}
	i.room.Admit()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	requested, err := i.requested(s)
	if err != nil {
		return time.Time{}, i.internal(ctx, err)
	}
	entry, err := i.entry(s)
	if err != nil {
		return time.Time{}, i.internal(ctx, err)
	}
	requested.Vault, err = i.vault.PutFirst(ctx, s.tenant.ID, s.id, entry)
	if errors.Is(err, vault.ErrOccupied) {
		return i.repeat(ctx, s, requested, entry)
	}
	if err != nil {
		return time.Time{}, i.internal(ctx, err)
	}
	return i.accepted(ctx, s, requested, i.bus.Publish(ctx, s.tenant.ID, s.id, requested))
}

// accepted answers for a request that was published with this result.
func (i *intake) accepted(ctx context.Context, s submission, requested events.Requested, err error) (time.Time, *failure) {
	switch {
	case err == nil:
		return time.Now(), nil
	case errors.Is(err, bus.ErrExists):
		return i.again(ctx, s, requested)
	}
	return time.Time{}, i.internal(ctx, err)
}

// repeat accepts a request that was tried before: its registration is stored, or is being stored
// now, or only its entry is there. In the last case nobody needs that one any more as soon as the
// registration is stored with another.
func (i *intake) repeat(ctx context.Context, s submission, requested events.Requested, entry vault.Entry) (time.Time, *failure) {
	_, err := i.bus.StoredAt(ctx, events.SubjectOf(s.tenant.ID, s.id, requested))
	if err == nil {
		return i.again(ctx, s, requested)
	}
	if !errors.Is(err, bus.ErrAbsent) {
		return time.Time{}, i.internal(ctx, err)
	}
	if requested.Vault, err = i.vault.Put(ctx, s.tenant.ID, s.id, entry); err != nil {
		return time.Time{}, i.internal(ctx, err)
	}
	err = i.bus.Publish(ctx, s.tenant.ID, s.id, requested)
	if err == nil {
		i.forgetTries(ctx, s, requested.Vault, requested.Vault)
	}
	return i.accepted(ctx, s, requested, err)
}

// forgetTries takes out of the vault what tries left that the stored registration does not name: those
// before its own entry, and the entry of this request. What stays in it would count as unfinished.
func (i *intake) forgetTries(ctx context.Context, s submission, stored, own uint64) {
	err := i.vault.ClearBefore(ctx, s.tenant.ID, s.id, stored)
	if own > stored {
		err = errors.Join(err, i.vault.Withdraw(ctx, own))
	}
	if err != nil {
		i.bus.Log().WarnContext(ctx, "vault entry of another try not deleted", "error", err)
	}
}

// turn waits until a registration may be stored, or its client has gone.
func (i *intake) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	return i.turns.Acquire(ctx, 1)
}

func (i *intake) ready() error { return errors.Join(i.bus.Ready(), i.room.Err()) }

// internal logs what failed and answers 503: nothing is promised.
func (i *intake) internal(ctx context.Context, err error) *failure {
	if errors.Is(err, vault.ErrTooLarge) {
		return fail(http.StatusRequestEntityTooLarge, "too-large", "the registration is too large to be stored; send less")
	}
	i.bus.Log().WarnContext(ctx, "registration not stored", "error", err)
	return unavailable("the registration may not be stored; retry with the same Idempotency-Key")
}

func (i *intake) requested(s submission) (events.Requested, error) {
	mac, err := i.contentMAC(s)
	if err != nil {
		return events.Requested{}, err
	}
	user, errUser := i.keys.UserID(s.id)
	person, errPerson := i.keys.PersonID(s.id)
	if err := errors.Join(errUser, errPerson); err != nil {
		return events.Requested{}, fmt.Errorf("derive ids: %w", err)
	}
	return events.Requested{Carried: events.Carried{
		Channel: s.registration.Channel, Dialect: s.registration.Dialect, UserID: user, PersonID: person, MAC: mac, Config: s.tenant.ConfigVersion,
	}, Audit: s.audit}, nil
}

// contentMAC identifies what was asked for, password and findings included: not who sent it, nor
// what this version of the gateway makes of a claim or a password.
func (i *intake) contentMAC(s submission) (string, error) {
	content := s.registration
	content.Client, content.Password = events.Client{}, events.PasswordFacts{}
	if content.Claim != nil {
		claim := *content.Claim
		claim.Place = ""
		content.Claim = &claim
	}
	plain, err := json.Marshal(content)
	if err != nil {
		return "", fmt.Errorf("encode content: %w", err)
	}
	mac, err := i.keys.MAC(keys.ID, "content", s.tenant.ID, plain, []byte(s.password))
	return hex.EncodeToString(mac), err
}

// entry is the person and the password, sealed to accounts.
func (i *intake) entry(s submission) (vault.Entry, error) {
	entry := vault.Entry{Registration: s.registration}
	if s.password != "" {
		sealed, err := i.keys.SealCredential(s.tenant.ID, s.id, []byte(s.password))
		if err != nil {
			return entry, fmt.Errorf("seal credential: %w", err)
		}
		entry.Credential = sealed
	}
	return entry, nil
}

// again answers for an id that is stored already, and takes its own vault entry back where it has one.
func (i *intake) again(ctx context.Context, s submission, own events.Requested) (time.Time, *failure) {
	stored, err := i.bus.StoredAt(ctx, events.SubjectOf(s.tenant.ID, s.id, own))
	if err != nil {
		return time.Time{}, i.internal(ctx, err)
	}
	first, ok := stored.Event.(events.Requested)
	if !ok {
		return time.Time{}, i.internal(ctx, errors.New("stored request is of another type"))
	}
	erased, err := i.erased(ctx, s)
	if err != nil {
		return time.Time{}, i.internal(ctx, err)
	}
	if erased {
		return time.Time{}, erasedUnder
	}
	i.forgetTries(ctx, s, first.Vault, own.Vault)
	if !hmac.Equal([]byte(first.MAC), []byte(own.MAC)) {
		return time.Time{}, fail(http.StatusUnprocessableEntity, "idempotency-key-reused",
			"Idempotency-Key was used for another content; send a new key for a new registration")
	}
	return stored.Stored, nil
}

// erased reports whether a registration is erased, or is to be; then what a repeated request put
// into the vault is erased too.
func (i *intake) erased(ctx context.Context, s submission) (bool, error) {
	_, err := i.bus.StoredAt(ctx, events.SubjectOf(s.tenant.ID, s.id, events.ErasureRequested{}))
	if errors.Is(err, bus.ErrAbsent) {
		return false, nil
	}
	if err == nil {
		err = i.vault.Erase(ctx, s.tenant.ID, s.id)
	}
	return true, err
}

// longestKey bounds an idempotency key.
const longestKey = 255

// idempotencyKey reads the header, with or without the quotes of
// draft-ietf-httpapi-idempotency-key-header-07; "" where there is none.
func idempotencyKey(r *http.Request) (string, *failure) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	if len(values) > 1 || key == "" || len(key) > longestKey {
		return "", fail(http.StatusBadRequest, "malformed", "header Idempotency-Key must be sent once, 1 to 255 characters long")
	}
	return key, nil
}

// takes refuses a body of another media type than the one named, or an encoded one.
func takes(media string, h http.Header) *failure {
	sent, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if len(h.Values("Content-Type")) != 1 || err != nil || sent != media {
		return fail(http.StatusUnsupportedMediaType, "unsupported-media-type", "send one header Content-Type: "+media)
	}
	if encoding := h.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return fail(http.StatusUnsupportedMediaType, "unsupported-media-type", "send the body without Content-Encoding")
	}
	return nil
}

// readBody reads a JSON body within its limit.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *failure) {
	if f := takes("application/json", r.Header); f != nil {
		return nil, f
	}
	return readWithin(w, r)
}

// readWithin reads a body within the limit of all dialects.
func readWithin(w http.ResponseWriter, r *http.Request) ([]byte, *failure) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, jsonbody.MaxBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fail(http.StatusRequestEntityTooLarge, "too-large", "the body is larger than 256 KiB; send less")
	case err != nil:
		return nil, fail(http.StatusBadRequest, "malformed", "the body could not be read to its end")
	}
	return body, nil
}

// readBeginning reads a body; of one above the limit of all dialects so much that its decoder
// sees that it is.
func readBeginning(w http.ResponseWriter, r *http.Request) ([]byte, *failure) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, jsonbody.MaxBytes+1))
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		return nil, fail(http.StatusBadRequest, "malformed", "the body could not be read to its end")
	}
	return body, nil
}
