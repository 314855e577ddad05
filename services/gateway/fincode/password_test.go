package fincode

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/services/gateway/jsonbody"
	"github.com/usherhq/usher/services/gateway/sample"
)

// newKey makes a key of the fewest bits that crypto/rsa makes: fast, and of no other use.
func newKey(t testing.TB) *rsa.PrivateKey { return newKeyOf(t, 1024) }

func newKeyOf(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// encrypt does what a client does, with the mask generation of its platform.
func encrypt(t testing.TB, k *rsa.PrivateKey, mask crypto.Hash, plain string) string {
	t.Helper()
	sealed, err := rsa.EncryptOAEPWithOptions(rand.Reader, &k.PublicKey, []byte(plain), &rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: mask})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sealed)
}

func with(keys ...*rsa.PrivateKey) Settings {
	return Settings{Keys: func() ([]*rsa.PrivateKey, error) { return keys, nil }}
}

const printedCiphertext = "O5ti8XI/pLYC27E+ehORvg2YplXqX3ckoS7Kzk9cEdtC+LSzVICID9c/Tzsi0V5d..."

// encrypted is the request that the vendor's page prints, with other ciphertexts.
func encrypted(t testing.TB, password, confirmation string) []byte {
	t.Helper()
	body := sample.Read(t, "encrypted.request.json")
	for _, text := range []string{password, confirmation} {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(body, `"`+printedCiphertext+`"`) {
			t.Fatal("the printed ciphertext is not in the request")
		}
		body = strings.Replace(body, `"`+printedCiphertext+`"`, string(quoted), 1)
	}
	return []byte(body)
}

func TestEveryLiveKeyOpensBothPaddings(t *testing.T) {
	old, current := newKey(t), newKeyOf(t, 2048)
	const password = "Geheim-ß€😀-1A"
	for name, key := range map[string]*rsa.PrivateKey{"the current key": current, "the retiring one": old} {
		for mask, hash := range map[string]crypto.Hash{"MGF1-SHA256": crypto.SHA256, "MGF1-SHA1": crypto.SHA1} {
			t.Run(name+" with "+mask, func(t *testing.T) {
				// Every ciphertext is another one: retries are never the same text.
				body := encrypted(t, encrypt(t, key, hash, password), encrypt(t, key, hash, password))
				r, got, err := Decode(body, with(current, old))
				if err != nil || got != password || len(r.Findings) > 0 {
					t.Errorf("%v, findings %v", err, r.Findings)
				}
				if _, _, err := Decode(body, with(newKey(t))); refusal(t, err) != genericRefusal(t) {
					t.Error("another key opened it, or tells more")
				}
			})
		}
	}
}

func TestOnePasswordMayComeInEitherPaddingUnderEitherKey(t *testing.T) {
	one, two := newKey(t), newKey(t)
	body := encrypted(t, encrypt(t, one, crypto.SHA256, "Secret-1"), encrypt(t, two, crypto.SHA1, "Secret-1"))
	if _, got, err := Decode(body, with(one, two)); err != nil || got != "Secret-1" {
		t.Errorf("%q, %v", got, err)
	}
}

// refusal is the answer to an error of Decode: its status and its body.
func refusal(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return "accepted"
	}
	status, body := Malformed(err)
	return fmt.Sprint(status, " ", string(body))
}

// genericRefusal is the one answer to whatever cannot be decrypted.
func genericRefusal(t testing.TB) string {
	t.Helper()
	return refusal(t, &FieldError{Field: "password", Code: codeDecryption, Message: decryptionFailed})
}

func TestWhateverCannotBeDecryptedIsAnsweredTheSame(t *testing.T) {
	k, other := newKey(t), newKey(t)
	good := encrypt(t, k, crypto.SHA256, "Secret-1")
	raw, _ := base64.StdEncoding.DecodeString(good)
	//lint:ignore SA1019 it is what a wrong client sends
	pkcs1, err := rsa.EncryptPKCS1v15(rand.Reader, &k.PublicKey, []byte("Secret-1"))
	if err != nil {
		t.Fatal(err)
	}
	labelled, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &k.PublicKey, []byte("Secret-1"), []byte("label"))
	if err != nil {
		t.Fatal(err)
	}
	withSHA1, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &k.PublicKey, []byte("Secret-1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.StdEncoding.EncodeToString
	want := genericRefusal(t)
	for name, bad := range map[string]string{
		"the ciphertext that is printed":        printedCiphertext,
		"another key":                           encrypt(t, other, crypto.SHA256, "Secret-1"),
		"the padding of PKCS #1 v1.5":           encode(pkcs1),
		"OAEP with a label":                     encode(labelled),
		"OAEP with SHA-1":                       encode(withSHA1),
		"a byte too few":                        encode(raw[1:]),
		"a byte too many":                       encode(append(raw, 0)),
		"a leading zero more":                   encode(append([]byte{0}, raw...)),
		"the number 0":                          encode(make([]byte, k.Size())),
		"the number 1":                          encode(append(make([]byte, k.Size()-1), 1)),
		"the modulus":                           encode(k.N.Bytes()),
		"a number above the modulus":            encode([]byte(strings.Repeat("\xff", k.Size()))),
		"one byte":                              "AA==",
		"90 KiB":                                encode(make([]byte, 67<<10)),
		"a password in clear":                   "SecurePass123!",
		"Base64 without its padding":            strings.TrimRight(good, "="),
		"hexadecimal":                           fmt.Sprintf("%x", raw),
		"a plain text that is not UTF-8":        encrypt(t, k, crypto.SHA256, "\xff\xfe"),
		"a plain text that is Latin-1, by Java": encrypt(t, k, crypto.SHA1, "Stra\xdfe-1A"),
		"a plain text with a NUL":               encrypt(t, k, crypto.SHA256, "a\x00b"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, body := range [][]byte{encrypted(t, bad, good), encrypted(t, good, bad), encrypted(t, bad, bad)} {
				if _, _, err := Decode(body, with(k)); refusal(t, err) != want {
					t.Errorf("answered %s", refusal(t, err))
				}
			}
			if _, _, err := Decode(encrypted(t, bad, good), with()); refusal(t, err) != want {
				t.Errorf("without any live key: %s", refusal(t, err))
			}
		})
	}
}

// TestTenThousandDamagedCiphertextsAreAnsweredTheSame sends two of them with each request.
func TestTenThousandDamagedCiphertextsAreAnsweredTheSame(t *testing.T) {
	const requests, workers = 5000, 4
	k := newKey(t)
	want := genericRefusal(t)
	good := make([][]byte, 16)
	for i := range good {
		good[i], _ = base64.StdEncoding.DecodeString(encrypt(t, k, variants[i%2].MGFHash, "Secret-1"))
	}
	var wg sync.WaitGroup
	for seed := range workers {
		wg.Go(func() {
			random := mrand.New(mrand.NewPCG(1, uint64(seed)))
			for range requests / workers {
				body := encrypted(t, damaged(random, good), damaged(random, good))
				if _, _, err := Decode(body, with(k)); refusal(t, err) != want {
					t.Errorf("%s\nis answered %s", body, refusal(t, err))
					return
				}
			}
		})
	}
	wg.Wait()
}

// damaged is random bytes of the right or any length, or one of the good ciphertexts cut short
// or with a bit flipped.
func damaged(random *mrand.Rand, good [][]byte) string {
	c := slices.Clone(good[random.IntN(len(good))])
	fill := func() {
		for i := range c {
			c[i] = byte(random.Uint32())
		}
	}
	switch random.IntN(4) {
	case 0:
		fill()
	case 1:
		c = make([]byte, 1+random.IntN(2*len(c)))
		fill()
	case 2:
		c = c[:1+random.IntN(len(c)-1)]
	case 3:
		c[random.IntN(len(c))] ^= 1 << random.IntN(8)
	}
	return base64.StdEncoding.EncodeToString(c)
}

func TestPlainPasswordsAreReadOnlyWhereTheTenantAllows(t *testing.T) {
	body := []byte(sample.Read(t, "plain.request.json"))
	if _, _, err := Decode(body, with()); !strings.Contains(refusal(t, err), codePlain) {
		t.Errorf("without leave: %s", refusal(t, err))
	}
	r, password, err := Decode(body, Settings{AllowPlain: true})
	if err != nil || password != "SecurePass123!" || len(r.Findings) > 0 {
		t.Errorf("with leave: %v, findings %v", err, r.Findings)
	}
	if _, _, err := Decode(encrypted(t, "AA==", "AA=="), Settings{AllowPlain: true, Keys: with().Keys}); refusal(t, err) != genericRefusal(t) {
		t.Errorf("encrypted all the same: %s", refusal(t, err))
	}
}

func TestPasswordsMustBeEqualInPlain(t *testing.T) {
	k := newKey(t)
	body := encrypted(t, encrypt(t, k, crypto.SHA256, "Secret-1"), encrypt(t, k, crypto.SHA256, "Secret-2"))
	_, _, err := Decode(body, with(k))
	status, answer := Malformed(err)
	if status != http.StatusBadRequest {
		t.Errorf("status %d", status)
	}
	sample.GoldenJSON(t, "password-mismatch.golden.json", answer)
}

func TestKeysThatCannotBeReadAreNoFaultOfTheClient(t *testing.T) {
	broken := errors.New("disk")
	s := Settings{AllowPlain: true, Keys: func() ([]*rsa.PrivateKey, error) { return nil, broken }}
	if _, _, err := Decode(encrypted(t, "AA==", "AA=="), s); !errors.Is(err, ErrKeys) || !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, _, err := Decode([]byte(sample.Read(t, "plain.request.json")), s); err != nil {
		t.Errorf("a request that needs no key: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	k := newKey(f)
	for _, file := range []string{"plain.request.json", "encrypted.request.json", "program.request.json"} {
		f.Add([]byte(sample.Read(f, file)))
	}
	f.Add(encrypted(f, encrypt(f, k, crypto.SHA1, "Secret-1"), encrypt(f, k, crypto.SHA256, "Secret-1")))
	f.Add([]byte(`{"payloadEncrypted":false,"customerType":"COMPANY","dynamicFields":{"companyName":1},"address":{"country":"GB"},"phone":"+1","dialingCode":"+44"}`))
	settings := with(k)
	settings.AllowPlain = true
	f.Fuzz(func(t *testing.T, body []byte) {
		r, _, err := Decode(body, settings)
		if err == nil {
			if r.Channel != Channel {
				t.Error("an accepted body is not a registration of the channel")
			}
			return
		}
		var p *jsonbody.Problem
		var e *FieldError
		if !errors.As(err, &p) && !errors.As(err, &e) {
			t.Errorf("error %T", err)
		}
		if status, answer := Malformed(err); status < 400 || status > 413 || !json.Valid(answer) {
			t.Errorf("answered %d %s", status, answer)
		}
	})
}

// BenchmarkRefusedPassword times what a request costs whose passwords cannot be decrypted. The
// median of every row must be within a fifth of the first one's: it tells nobody what was wrong.
func BenchmarkRefusedPassword(b *testing.B) {
	k, other := newKeyOf(b, 2048), newKeyOf(b, 2048)
	good := encrypt(b, k, crypto.SHA256, "SecurePass123!")
	raw, _ := base64.StdEncoding.DecodeString(good)
	flipped := slices.Clone(raw)
	flipped[len(flipped)-1] ^= 1
	encode := base64.StdEncoding.EncodeToString
	rows := []struct{ name, password string }{
		{"wrong padding", encode(flipped)},
		{"wrong length", encode(raw[:len(raw)-1])},
		{"wrong key", encrypt(b, other, crypto.SHA256, "SecurePass123!")},
		{"above the modulus", encode([]byte(strings.Repeat("\xff", k.Size())))},
		{"not Base64", "SecurePass123!"},
		{"not UTF-8", encrypt(b, k, crypto.SHA1, "\xff")},
	}
	// Rounds visit every row, so that a busy moment of the machine strikes all alike.
	times := make([][]time.Duration, len(rows))
	for b.Loop() {
		for i, row := range rows {
			for _, pair := range [][2]string{{row.password, good}, {good, row.password}, {row.password, row.password}} {
				body := encrypted(b, pair[0], pair[1])
				started := time.Now()
				if _, _, err := Decode(body, with(k)); err == nil {
					b.Fatalf("%s was accepted", row.name)
				}
				times[i] = append(times[i], time.Since(started))
			}
		}
	}
	median := func(d []time.Duration) time.Duration { slices.Sort(d); return d[len(d)/2] }
	first := median(times[0])
	for i, row := range rows {
		m := median(times[i])
		b.ReportMetric(float64(m.Microseconds()), strings.ReplaceAll(row.name, " ", "-")+"-µs")
		if part := float64(m) / float64(first); len(times[i]) >= 100 && (part < 0.8 || part > 1.2) {
			b.Errorf("%s takes %v, %s %v", row.name, m, rows[0].name, first)
		}
	}
}
