package vault

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
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
	dir := t.TempDir()
	if err := keys.Generate(dir); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
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

func TestADeletedEntryIsMissingAndDeletingAgainIsNoError(t *testing.T) {
	v, _, _ := open(t)
	seq, err := v.Put(t.Context(), "acme", "r1", entry())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Delete(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Delete(t.Context(), 1000); err != nil {
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
	if err := v.Delete(t.Context(), seq); err == nil {
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
	if err := v.Delete(t.Context(), sequences[9]); err != nil {
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
