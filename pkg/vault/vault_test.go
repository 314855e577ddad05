package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/keys/keystest"
)

func open(t *testing.T) (*Vault, jetstream.JetStream, *keys.Ring) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("broker did not start")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: Stream, Subjects: []string{"vault.>"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	ring := keystest.Ring(t)
	return New(js, ring), js, ring
}

func entry() Entry {
	return Entry{Registration: events.Registration{Channel: "native", Applicant: events.Applicant{GivenName: "Kanarienvogel"}}, Credential: []byte(`{"sealed":"x"}`)}
}

func TestAnEntryComesBackToItsOwnRegistrationOnly(t *testing.T) {
	v, js, _ := open(t)
	seq, err := v.Put(t.Context(), "acme", "r1", entry())
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Get(t.Context(), "acme", "r1", seq)
	if err != nil || got.Registration.Applicant.GivenName != "Kanarienvogel" || string(got.Credential) != `{"sealed":"x"}` {
		t.Errorf("got %v, %v", got.Registration.Channel, err)
	}
	for _, other := range [][2]string{{"acme", "r2"}, {"other", "r1"}} {
		if _, err := v.Get(t.Context(), other[0], other[1], seq); !errors.Is(err, ErrMissing) {
			t.Errorf("%v: %v", other, err)
		}
	}
	stream, err := js.Stream(t.Context(), Stream)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := stream.GetMsg(t.Context(), seq)
	if err != nil || bytes.Contains(raw.Data, []byte("Kanarienvogel")) {
		t.Errorf("the stored entry holds the person in clear, %v", err)
	}
	moved := &nats.Msg{Subject: "vault.acme.r2", Data: raw.Data}
	ack, err := js.PublishMsg(t.Context(), moved)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Get(t.Context(), "acme", "r2", ack.Sequence); !errors.Is(err, keys.ErrUnsealable) {
		t.Errorf("an entry moved to another registration: %v", err)
	}
}

func TestTheEntryOfAnotherRegistrationIsNotDeleted(t *testing.T) {
	v, _, _ := open(t)
	seq, err := v.Put(t.Context(), "acme", "r1", entry())
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []struct{ tenant, registration string }{{"acme", "r2"}, {"globex", "r1"}} {
		if err := v.Delete(t.Context(), other.tenant, other.registration, seq); err != nil {
			t.Error(err)
		}
	}
	if _, err := v.Get(t.Context(), "acme", "r1", seq); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

func TestADeletedEntryIsMissingAndDeletingAgainIsNoError(t *testing.T) {
	v, _, _ := open(t)
	seq, err := v.Put(t.Context(), "acme", "r1", entry())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Delete(t.Context(), "acme", "r1", seq); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Delete(t.Context(), "acme", "r1", 1000); err != nil {
		t.Errorf("an entry that never was: %v", err)
	}
	for _, s := range []uint64{seq, 1000} {
		if _, err := v.Get(t.Context(), "acme", "r1", s); !errors.Is(err, ErrMissing) {
			t.Errorf("entry %d: %v", s, err)
		}
	}
}

func TestWithoutABrokerNothingIsMissing(t *testing.T) {
	v, js, _ := open(t)
	seq, err := v.Put(t.Context(), "acme", "r1", entry())
	if err != nil {
		t.Fatal(err)
	}
	js.Conn().Close()
	if _, err := v.Get(t.Context(), "acme", "r1", seq); err == nil || errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
	if err := v.Delete(t.Context(), "acme", "r1", seq); err == nil {
		t.Error("the entry was deleted without a broker")
	}
}

func TestAnEntryIsNeverPrinted(t *testing.T) {
	if text := fmt.Sprintf("%v %+v %#v", entry(), entry().Registration, entry().Registration.Applicant); bytes.Contains([]byte(text), []byte("Kanarien")) {
		t.Errorf("printed %s", text)
	}
}

func TestConcurrentReadsEachGetTheirOwnEntry(t *testing.T) {
	v, js, _ := open(t)
	const n = 300
	sequences := make([]uint64, n)
	for i := range sequences {
		e := entry()
		e.Registration.Applicant.GivenName = fmt.Sprint("person ", i)
		var err error
		if sequences[i], err = v.Put(t.Context(), "acme", fmt.Sprint("r", i), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Put(t.Context(), "acme", "r7", entry()); err != nil { // a later one of the same registration
		t.Fatal(err)
	}
	if err := v.Delete(t.Context(), "acme", "r9", sequences[9]); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "vault.acme.rubbish", []byte{0xff}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		for i, seq := range sequences {
			wg.Go(func() {
				got, err := v.Get(t.Context(), "acme", fmt.Sprint("r", i), seq)
				if i == 9 {
					if !errors.Is(err, ErrMissing) {
						t.Errorf("the deleted one: %v", err)
					}
					return
				}
				if err != nil || got.Registration.Applicant.GivenName != fmt.Sprint("person ", i) {
					t.Errorf("%d: %q, %v", i, got.Registration.Applicant.GivenName, err)
				}
			})
		}
	}
	wg.Go(func() {
		if _, err := v.Get(t.Context(), "acme", "rubbish", n+2); err == nil || errors.Is(err, ErrMissing) {
			t.Errorf("rubbish: %v", err)
		}
	})
	wg.Wait()
}

func FuzzAnEntryOfTheStream(f *testing.F) {
	f.Add([]byte{})
	f.Add(sealed{[]byte("person"), nil}.bytes())
	f.Add(sealed{[]byte("person"), []byte("credential")}.bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, ok := parse(data)
		if !ok {
			return
		}
		if again, ok := parse(s.bytes()); !ok || !bytes.Equal(again.person, s.person) || !bytes.Equal(again.credential, s.credential) {
			t.Errorf("%x is read as %v and then as %v", data, s, again)
		}
	})
}

func TestAnErasureLeavesNoEntryOfTheRegistrationAndNoBytesOfIt(t *testing.T) {
	v, js, _ := open(t)
	stream, err := js.Stream(t.Context(), Stream)
	if err != nil {
		t.Fatal(err)
	}
	var stored [][]byte
	for _, registration := range []string{"r1", "r2", "r1"} {
		seq, err := v.Put(t.Context(), "acme", registration, entry())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, raw.Data)
	}
	files := filepath.Dir(t.TempDir())
	for i, data := range stored {
		if n := copies(t, files, data); n != 1 {
			t.Fatalf("the broker's files hold entry %d %d times: the test is blind", i+1, n)
		}
	}
	for range 2 {
		if err := v.Erase(t.Context(), "acme", "r1"); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int{0, 1, 0} {
		if n := copies(t, files, stored[i]); n != want {
			t.Errorf("the broker's files hold entry %d %d times, want %d", i+1, n, want)
		}
	}
	stream, err = js.Stream(t.Context(), Stream)
	if err != nil || stream.CachedInfo().State.Msgs != 1 {
		t.Errorf("%d entries are left, %v", stream.CachedInfo().State.Msgs, err)
	}
	if _, err := v.Get(t.Context(), "acme", "r2", 2); err != nil {
		t.Errorf("another registration's entry: %v", err)
	}
}

// copies counts how often the files under a directory hold a text.
func copies(t *testing.T, dir string, text []byte) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		n += bytes.Count(raw, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWhatIsPutBackAgainForTheSameReasonStaysOneEntry(t *testing.T) {
	v, js, _ := open(t)
	first, err := v.Put(t.Context(), "acme", "r1", entry())
	if err != nil {
		t.Fatal(err)
	}
	var sequences []uint64
	for _, mark := range []string{"r1", "r1", "r1/2", "r1/2"} {
		sequence, err := v.PutBack(t.Context(), "acme", "r1", mark, entry())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Get(t.Context(), "acme", "r1", sequence); err != nil || got.Registration.Applicant.GivenName != "Kanarienvogel" {
			t.Errorf("put back %v, %v", got, err)
		}
		sequences = append(sequences, sequence)
	}
	if want := []uint64{first + 1, first + 1, first + 2, first + 2}; !slices.Equal(sequences, want) {
		t.Errorf("entries %v, want %v", sequences, want)
	}
	if other, err := v.PutBack(t.Context(), "acme", "r2", "r1", entry()); err != nil || other != first+3 {
		t.Errorf("another's is %d, %v", other, err)
	}
	stream, err := js.Stream(t.Context(), Stream)
	if err != nil || stream.CachedInfo().State.Msgs != 4 {
		t.Errorf("%d entries, %v", stream.CachedInfo().State.Msgs, err)
	}
}

func TestACaseIsNotCountedAsInFlight(t *testing.T) {
	v, _, _ := open(t)
	if _, err := v.Put(t.Context(), "acme", "r1", entry()); err != nil {
		t.Fatal(err)
	}
	sequence, err := v.PutBack(t.Context(), "acme", CaseOf("r2"), "c1-1", entry())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Get(t.Context(), "acme", CaseOf("r2"), sequence); err != nil {
		t.Error(err)
	}
	if _, err := v.Get(t.Context(), "acme", "r2", sequence); !errors.Is(err, ErrMissing) {
		t.Errorf("under the registration: %v", err)
	}
	if n, err := v.Count(t.Context(), "acme"); n != 1 || err != nil {
		t.Errorf("%d in flight, %v", n, err)
	}
}

func TestTheHoldersOfEntriesAreListedOnceEach(t *testing.T) {
	v, _, _ := open(t)
	for _, h := range []Holder{{"acme", "r1"}, {"acme", "r2"}, {"acme", "r1"}, {"acme", CaseOf("r1")}, {"globex", "r3"}, {"globex", CaseOf("r4")}} {
		if _, err := v.Put(t.Context(), h.Tenant, h.Registration, entry()); err != nil {
			t.Fatal(err)
		}
	}
	holders, err := v.Holders(t.Context())
	slices.SortFunc(holders, func(a, b Holder) int { return strings.Compare(a.Registration, b.Registration) })
	if want := []Holder{{"acme", "r1"}, {"acme", "r2"}, {"globex", "r3"}, {"globex", "r4"}}; err != nil || !slices.Equal(holders, want) {
		t.Errorf("got %v, %v", holders, err)
	}
}

func TestAnEntryWhoseCredentialIsSealedToAccountsAloneIsRead(t *testing.T) {
	v, js, ring := open(t)
	person, err := ring.Seal(keys.Vault, "acme", aad("acme", "r1", "person"), []byte(`{"channel":"native"}`))
	if err != nil {
		t.Fatal(err)
	}
	credential, err := ring.SealCredential("acme", "r1", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	ack, err := js.Publish(t.Context(), Subject("acme", "r1"), sealed{person, credential}.bytes())
	if err != nil {
		t.Fatal(err)
	}
	e, err := v.Get(t.Context(), "acme", "r1", ack.Sequence)
	if err != nil || e.Registration.Channel != "native" {
		t.Fatalf("got %v, %v", e, err)
	}
	if password, err := ring.OpenCredential("acme", "r1", e.Credential); err != nil || string(password) != "secret" {
		t.Errorf("the password does not open: %v", err)
	}
}

func TestOnlyTheNewestEntryOfItsMarkIsTakenBack(t *testing.T) {
	v, _, _ := open(t)
	first, err := v.Put(t.Context(), "acme", "r1", entry())
	if err != nil {
		t.Fatal(err)
	}
	second, err := v.PutBack(t.Context(), "acme", "r1", "r1", entry())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		registration, mark string
		there              bool
	}{{"r1", "r1/2", true}, {"r2", "r1", true}, {"r1", "r1", false}, {"r1", "r1", false}} {
		if err := v.TakeBack(t.Context(), "acme", step.registration, step.mark); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Get(t.Context(), "acme", "r1", second); (err == nil) != step.there {
			t.Errorf("after %s of %s: %v", step.mark, step.registration, err)
		}
	}
	if _, err := v.Get(t.Context(), "acme", "r1", first); err != nil {
		t.Error(err)
	}
}

func TestTheEntriesOfCasesAreClearedAndNoOthers(t *testing.T) {
	v, js, _ := open(t)
	if _, err := v.Put(t.Context(), "acme", "r1", entry()); err != nil {
		t.Fatal(err)
	}
	for _, of := range []struct{ registration, mark string }{{CaseOf("r1"), "c1-1"}, {CaseOf("r2"), "c2-1"}, {CaseOf("r1"), "c3-1"}} {
		if _, err := v.PutBack(t.Context(), "acme", of.registration, of.mark, entry()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := v.Clear(t.Context(), "acme", CaseOf("r1")); err != nil {
			t.Fatal(err)
		}
		stream, err := js.Stream(t.Context(), Stream)
		if err != nil || stream.CachedInfo().State.Msgs != 2 {
			t.Errorf("%d entries, %v", stream.CachedInfo().State.Msgs, err)
		}
	}
}

func TestOnlyTheFirstEntryIsPutFirst(t *testing.T) {
	v, _, _ := open(t)
	first, err := v.PutFirst(t.Context(), "acme", "r1", entry())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.PutFirst(t.Context(), "acme", "r1", entry()); !errors.Is(err, ErrOccupied) {
		t.Errorf("the second: %v", err)
	}
	second, err := v.Put(t.Context(), "acme", "r1", entry())
	if err != nil {
		t.Fatal(err)
	}
	if err := v.ClearBefore(t.Context(), "acme", "r1", second); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Get(t.Context(), "acme", "r1", first); !errors.Is(err, ErrMissing) {
		t.Errorf("the entry before the other: %v", err)
	}
	if _, err := v.Get(t.Context(), "acme", "r1", second); err != nil {
		t.Errorf("the other: %v", err)
	}
	if err := v.Withdraw(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if _, err := v.PutFirst(t.Context(), "acme", "r1", entry()); err != nil {
		t.Errorf("after all are gone: %v", err)
	}
}
