package keys

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// UUIDv8 forms a UUID of version 8 (RFC 9562 §5.8) from the first 16 bytes of a MAC.
func UUIDv8(mac []byte) string {
	var u [16]byte
	copy(u[:], mac)
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// RegistrationID is the same for the same tenant and idempotency key, for ever; without a key
// it is random.
func (r *Ring) RegistrationID(tenant, idempotencyKey string) (string, error) {
	if idempotencyKey == "" {
		random := make([]byte, 16)
		_, _ = rand.Read(random)
		return UUIDv8(random), nil
	}
	return r.uuid("registration", tenant, idempotencyKey)
}

// UserID derives the user's id from the registration's.
func (r *Ring) UserID(registration string) (string, error) { return r.uuid("user", "", registration) }

// PersonID derives the person's id from the registration's.
func (r *Ring) PersonID(registration string) (string, error) {
	return r.uuid("person", "", registration)
}

func (r *Ring) uuid(purpose, tenant, of string) (string, error) {
	mac, err := r.MAC(ID, purpose, tenant, []byte(of))
	if err != nil {
		return "", err
	}
	return UUIDv8(mac), nil
}

// ActivationCode is the code of a registration's epoch: 16 characters A–Z and 2–7, 80 bits.
// Every holder of the activation key derives the same.
func (r *Ring) ActivationCode(registration string, epoch int) (string, error) {
	mac, err := r.MAC(Activation, "code", "", []byte(registration), []byte(strconv.Itoa(epoch)))
	if err != nil {
		return "", err
	}
	return base32.StdEncoding.EncodeToString(mac[:10]), nil
}

// HashCode is what an event may carry of a code somebody presented: SHA-256, bound to the
// registration. Case, spaces and hyphens do not matter.
func HashCode(registration, code string) string {
	plain := strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(code))
	sum := sha256.Sum256([]byte(registration + "|" + plain))
	return hex.EncodeToString(sum[:])
}
