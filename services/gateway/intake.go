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
	bus    *bus.Bus
	vault  *vault.Vault
	keys   *keys.Ring
	config *tenant.Config
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
	i.room.Admit()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	requested, err := i.requested(s)
	if err != nil {
		return time.Time{}, i.internal(ctx, err)
	}
	if requested.Vault, err = i.seal(ctx, s); err != nil {
		return time.Time{}, i.internal(ctx, err)
	}
	err = i.bus.Publish(ctx, s.tenant.ID, s.id, requested)
	switch {
	case err == nil:
		return time.Now(), nil
	case errors.Is(err, bus.ErrExists):
		return i.again(ctx, s, requested)
	}
	return time.Time{}, i.internal(ctx, err)
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
		Channel: s.registration.Channel, Dialect: s.registration.Dialect, UserID: user, PersonID: person, MAC: mac, Config: i.config.Version,
	}}, nil
}

// contentMAC identifies what was asked for, password included: not who sent it, nor what
// this version of the gateway makes of it.
func (i *intake) contentMAC(s submission) (string, error) {
	content := s.registration
	content.Client, content.Password, content.Findings = events.Client{}, events.PasswordFacts{}, nil
	plain, err := json.Marshal(content)
	if err != nil {
		return "", fmt.Errorf("encode content: %w", err)
	}
	mac, err := i.keys.MAC(keys.ID, "content", s.tenant.ID, plain, []byte(s.password))
	return hex.EncodeToString(mac), err
}

// seal puts the person and the password into the vault.
func (i *intake) seal(ctx context.Context, s submission) (uint64, error) {
	entry := vault.Entry{Registration: s.registration}
	if s.password != "" {
		sealed, err := i.keys.SealCredential(s.tenant.ID, s.id, []byte(s.password))
		if err != nil {
			return 0, fmt.Errorf("seal credential: %w", err)
		}
		entry.Credential = sealed
	}
	return i.vault.Put(ctx, s.tenant.ID, s.id, entry)
}

// again answers for an id that is stored already, and takes its own vault entry back.
func (i *intake) again(ctx context.Context, s submission, own events.Requested) (time.Time, *failure) {
	stored, err := i.bus.StoredAt(ctx, events.SubjectOf(s.tenant.ID, s.id, own))
	if err != nil {
		return time.Time{}, i.internal(ctx, err)
	}
	first, ok := stored.Event.(events.Requested)
	if !ok {
		return time.Time{}, i.internal(ctx, errors.New("stored request is of another type"))
	}
	if first.Vault != own.Vault {
		if err := i.vault.Delete(ctx, own.Vault); err != nil {
			i.bus.Log().WarnContext(ctx, "vault entry of a repeated request not deleted", "error", err)
		}
	}
	if !hmac.Equal([]byte(first.MAC), []byte(own.MAC)) {
		return time.Time{}, fail(http.StatusUnprocessableEntity, "idempotency-key-reused",
			"Idempotency-Key was used for another content; send a new key for a new registration")
	}
	return stored.Stored, nil
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
