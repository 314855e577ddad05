package mailsink

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func start(t *testing.T, dir string) *Sink {
	t.Helper()
	s, err := Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func send(s *Sink, to, body string) error {
	return smtp.SendMail(s.Addr(), nil, "no-reply@example.com", []string{to}, []byte(strings.ReplaceAll(body, "\n", "\r\n")))
}

// shown asks as the page of a developer does.
func shown(t *testing.T, s *Sink, query string) []map[string]any {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/dev/mail"+query, nil))
	var mails []map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &mails); err != nil || mails == nil {
		t.Fatalf("answered %q: %v", w.Body, err)
	}
	return mails
}

const letter = `From: Usher <no-reply@example.com>
To: Marcus <marcus@example.com>
Subject: =?UTF-8?q?Gr=C3=BC=C3=9Fe?=
Message-ID: <1@usher>
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

ABCDEFGH234567AB
a =3D b
--b
Content-Type: text/html
Content-Transfer-Encoding: base64

PGI+aGk8L2I+
--b--
`

func TestAMailIsShownAsDocumentedToItsAddressOnly(t *testing.T) {
	s := start(t, t.TempDir())
	if all := shown(t, s, ""); len(all) != 0 {
		t.Errorf("before any mail: %v", all)
	}
	for _, to := range []string{"Marcus@Example.com", "other@example.com"} {
		if err := send(s, to, letter); err != nil {
			t.Fatal(err)
		}
	}
	got := shown(t, s, "?to=marcus@example.com")
	if len(got) != 1 || len(shown(t, s, "")) != 2 || len(shown(t, s, "?to=nobody@example.com")) != 0 {
		t.Fatalf("shown %v", got)
	}
	m := got[0]
	want := map[string]any{"to": "Marcus@Example.com", "from": "no-reply@example.com", "subject": "Grüße", "text": "ABCDEFGH234567AB\na = b", "html": "<b>hi</b>"}
	for name, value := range want {
		if m[name] != value {
			t.Errorf("%s is %q, want %q", name, m[name], value)
		}
	}
	headers, _ := m["headers"].(map[string]any)
	if headers["Message-Id"] != "<1@usher>" || m["receivedAt"] == nil || len(m) != 7 {
		t.Errorf("mail %v", m)
	}
}

func TestMailsAreThereAgainAndALineThatAKillCutShortIsNot(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if err := send(s, fmt.Sprintf("p%d@example.com", i%4), strings.Replace(letter, "<1@usher>", fmt.Sprintf("<%d@usher>", i), 1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	before := shown(t, s, "?to=p1@example.com")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "mails.ndjson"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"to":"p1@example.com","fr`); err != nil {
		t.Fatal(err)
	}
	file.Close()
	s = start(t, dir)
	if err := send(s, "p1@example.com", letter); err != nil {
		t.Fatal(err)
	}
	after := shown(t, s, "?to=p1@example.com")
	if len(before) != 10 || len(after) != 11 || fmt.Sprint(after[:10]) != fmt.Sprint(before) {
		t.Errorf("%d mails before, %d after", len(before), len(after))
	}
	times := []string{}
	for _, m := range shown(t, s, "") {
		times = append(times, m["receivedAt"].(string)[:19])
	}
	if len(times) != 41 || !slices.IsSorted(times) {
		t.Errorf("%d mails, not the oldest first", len(times))
	}
}

func TestRubbishIsRefusedAndTheSinkLives(t *testing.T) {
	s := start(t, t.TempDir())
	for name, body := range map[string]string{
		"no mail at all": "\x00\x01\x02",
		"too large":      letter + strings.Repeat("x", largestMail+1),
	} {
		if err := send(s, "a@example.com", body); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := send(s, "a@example.com", "Subject: plain\n\n"+strings.Repeat("long ", 300)); err != nil {
		t.Errorf("a plain mail with a long line: %v", err)
	}
	if mails := shown(t, s, "?to=a@example.com"); len(mails) != 1 {
		t.Errorf("%d mails", len(mails))
	}
}

func TestTheTagOfAnAddressNeedsNoEscape(t *testing.T) {
	s := start(t, t.TempDir())
	if err := send(s, "a+tag@example.com", letter); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"?to=a+tag@example.com", "?to=a%2Btag%40example.com"} {
		if mails := shown(t, s, query); len(mails) != 1 {
			t.Errorf("%s: %d mails", query, len(mails))
		}
	}
}

func TestAForgottenMailIsOverwrittenAndTheOthersStay(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	of := func(id string) string { return strings.Replace(letter, "<1@usher>", "<"+id+".created@usher>", 1) }
	for _, id := range []string{"r1", "r2", "r1"} {
		if err := send(s, id+"@example.com", of(id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Forget(t.Context(), "r1"); err != nil {
		t.Fatal(err)
	}
	if err := send(s, "r3@example.com", of("r3")); err != nil {
		t.Fatal(err)
	}
	check := func(s *Sink) {
		t.Helper()
		for query, want := range map[string]int{"": 2, "?to=r1@example.com": 0, "?to=r2@example.com": 1, "?to=r3@example.com": 1} {
			if n := len(shown(t, s, query)); n != want {
				t.Errorf("%q shows %d mails", query, n)
			}
		}
	}
	check(s)
	raw, err := os.ReadFile(filepath.Join(dir, "mails.ndjson"))
	if err != nil || strings.Contains(string(raw), "r1") {
		t.Errorf("the file still holds it, %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(start(t, dir))
}
