package fincode

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	_ "crypto/sha1" // of the mask generation only, see variants
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/usherhq/usher/events"
)

// variants are the two paddings that clients send: RSAES-OAEP (RFC 8017 section 7.1) with
// SHA-256, its mask made with SHA-256 (Node, Go, OpenSSL) or with SHA-1, which is what Java's
// RSA/ECB/OAEPWithSHA-256AndMGF1Padding does.
var variants = []*rsa.OAEPOptions{
	{Hash: crypto.SHA256, MGFHash: crypto.SHA256},
	{Hash: crypto.SHA256, MGFHash: crypto.SHA1},
}

// ErrKeys means that the keys of the tenant cannot be read: whether the passwords open is unknown.
var ErrKeys = errors.New("keys of encrypted passwords")

// openPasswords replaces the two passwords by their plain texts. Its error is a *FieldError or
// wraps ErrKeys.
func (q *request) openPasswords(t Settings) error {
	switch {
	case q.PayloadEncrypted == nil:
		return &FieldError{Field: "payloadEncrypted", Code: events.CodeRequired, Message: isRequired}
	case *q.PayloadEncrypted:
		if err := q.decryptPasswords(t); err != nil {
			return err
		}
	case !t.AllowPlain:
		return &FieldError{Field: "payloadEncrypted", Code: codePlain, Message: plainRefused}
	}
	if !isBlank(q.Password) && !isBlank(q.ConfirmPassword) && !equal(q.Password, q.ConfirmPassword) {
		return &FieldError{Field: "confirmPassword", Code: codeMismatch, Message: passwordMismatch}
	}
	return nil
}

// decryptPasswords tries both passwords in full before anything is answered: neither the error
// nor its time tells which of them failed, or why. One that was not sent is no failure.
func (q *request) decryptPasswords(t Settings) error {
	keys, err := t.Keys()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, err)
	}
	failed := false
	for _, field := range []*string{&q.Password, &q.ConfirmPassword} {
		if isBlank(*field) {
			continue
		}
		plain, ok := open(keys, *field)
		*field, failed = plain, failed || !ok
	}
	if failed {
		return &FieldError{Field: "password", Code: codeDecryption, Message: decryptionFailed}
	}
	return nil
}

// open returns the text that was encrypted to one of the keys and sent in Base64. Every key is
// tried with every variant, also after one has opened it, and also where the text cannot be a
// ciphertext: a number of the right size is tried in its place. crypto/rsa takes the same time
// whatever is wrong with the padding.
func open(keys []*rsa.PrivateKey, text string) (plain string, ok bool) {
	sent, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		sent = nil
	}
	for _, k := range keys {
		ciphertext, possible := ciphertextFor(k, sent)
		for _, variant := range variants {
			opened, err := k.Decrypt(nil, ciphertext, variant)
			if err == nil && possible {
				plain, ok = string(opened), true
			}
		}
	}
	return plain, ok && utf8.ValidString(plain) && !strings.Contains(plain, "\x00")
}

// ciphertextFor returns what was sent, if the key could have made it: as long as its modulus
// and below it (RFC 8017 sections 5.1.2 and 7.1.2). Else it returns a number that costs as much
// to try.
func ciphertextFor(k *rsa.PrivateKey, sent []byte) (ciphertext []byte, possible bool) {
	if len(sent) == k.Size() && bytes.Compare(sent, k.N.Bytes()) < 0 {
		return sent, true
	}
	substitute := make([]byte, k.Size())
	substitute[len(substitute)-1] = 2
	return substitute, false
}

// equal compares two secrets without telling by its time how much of them agrees.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
