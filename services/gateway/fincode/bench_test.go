package fincode

import (
	"crypto"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/usherhq/usher/services/gateway/sample"
)

func BenchmarkDecode(b *testing.B) {
	body := []byte(sample.Read(b, "plain.request.json"))
	b.Run("fincode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Decode(body, Settings{AllowPlain: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("generic JSON", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v any
			if err := json.Unmarshal(body, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, bits := range []int{2048, 3072, 4096} {
		k := newKeyOf(b, bits)
		sealed := encrypt(b, k, crypto.SHA256, "SecurePass123!")
		encryptedBody := encrypted(b, sealed, sealed)
		b.Run("fincode encrypted, "+fmt.Sprintf("%d bits", bits), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Decode(encryptedBody, with(k)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("one RSA decryption, "+fmt.Sprintf("%d bits", bits), func(b *testing.B) {
			raw, possible := ciphertextFor(k, nil)
			if possible {
				b.Fatal("nothing is a ciphertext")
			}
			for b.Loop() {
				_, _ = k.Decrypt(nil, raw, variants[0])
			}
		})
	}
}
