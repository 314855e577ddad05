package usher

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

// refusing is a mail server that knows nobody while it is told so, and takes every mail otherwise.
type refusing struct {
	knowsNobody atomic.Bool
	taken       atomic.Int64
}

func (s *refusing) start(t *testing.T) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return refusingSession{s}, nil }))
	server.ErrorLog = log.New(io.Discard, "", 0)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return "smtp://" + listener.Addr().String()
}

type refusingSession struct{ *refusing }

func (refusingSession) Reset()                               {}
func (refusingSession) Logout() error                        { return nil }
func (refusingSession) Mail(string, *smtp.MailOptions) error { return nil }
func (s refusingSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.knowsNobody.Load() {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user " + to}
	}
	return nil
}

func (s refusingSession) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	s.taken.Add(1)
	return err
}

// listed is what the ledger says of a mail.
type listed struct {
	Registration, Cause, State, Answer, Code string
	Attempts                                 int
}

func (d *dev) listMails(path, tenant string) (mails []listed) {
	d.t.Helper()
	a := d.do(http.MethodGet, d.ledger(path), tenant, nil)
	var page struct{ Mails []listed }
	if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK {
		d.t.Fatalf("%s answers %d %s", path, a.status, a.body)
	}
	return page.Mails
}

func TestOperatorsSeeWhatAMailThatWaitsHasMet(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{}, func(c *devCommand) { c.SMTP = "smtp://127.0.0.1:1" }) // nobody listens
	id := d.register(nativeBody("waits@example.com"))
	type letter struct {
		Registration, Cause, State, MessageID string
		Attempts                              int
		NextTryAt                             *time.Time
	}
	letters := func(path, tenant string) (all struct{ Letters []letter }) {
		a := d.do(http.MethodGet, d.ledger("/v1/letters"+path), tenant, nil)
		if err := json.Unmarshal(a.body, &all); err != nil || a.status != http.StatusOK {
			t.Fatalf("%s answers %d %s", path, a.status, a.body)
		}
		return all
	}
	d.eventually(waitLong, "a letter has been tried", func() bool {
		all := letters("", cloudVault).Letters
		return len(all) == 1 && all[0].Attempts > 0
	})
	l := letters("?registration="+id, cloudVault).Letters
	if len(l) != 1 || l[0].Registration != id || l[0].Cause != "created" || l[0].State != "PENDING" || l[0].NextTryAt == nil || l[0].MessageID != id+".created@usher" {
		t.Errorf("got %+v", l)
	}
	if other := append(letters("", finsei).Letters, letters("?registration="+id, finsei).Letters...); len(other) != 0 {
		t.Errorf("another tenant sees %+v", other)
	}
	for path, want := range map[string]int{"/v1/letters?limit=0": http.StatusBadRequest, "/v1/letters?after=x": http.StatusBadRequest, "/v1/letters?registration=a.b": http.StatusBadRequest} {
		if a := d.do(http.MethodGet, d.ledger(path), cloudVault, nil); a.status != want {
			t.Errorf("%s answers %d", path, a.status)
		}
	}
	if a := d.do(http.MethodGet, d.ledger("/v1/letters"), "nobody", nil); a.status != http.StatusForbidden {
		t.Errorf("an unknown tenant: %d", a.status)
	}
	if a := d.do(http.MethodGet, d.ledger("/v1/letters"), cloudVault, nil, "Authorization", "Bearer wrong"); a.status != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", a.status)
	}
}

func TestOperatorsSeeWhatBecameOfMailsAndOrderThemAgainOnRecord(t *testing.T) {
	cheapHash(t)
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	channel := sha256Hex("channel-token")
	text := strings.NewReplacer(
		"  failuresPerAddress: 0\n", "  failuresPerAddress: 0\n  tokens: [{sha256: "+channel+", subject: web, tenants: [\"*\"], roles: [channel]}]\n",
		"    mail: {from: no-reply@cloudvault.example}", "    activation: {resendCooldown: 0s}\n    mail: {from: no-reply@cloudvault.example}",
	).Replace(string(tenant.DemoFile()))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := &refusing{}
	server.knowsNobody.Store(true)
	url := server.start(t)
	d := startDev(t, t.TempDir(), devOptions{twice: true}, func(c *devCommand) { c.Config, c.SMTP = file, url })
	var ids []string
	for i := range 3 {
		ids = append(ids, d.register(nativeBody(fmt.Sprintf("dead%d@example.com", i))))
	}
	d.eventually(waitLong, "the mails have failed", func() bool { return len(d.listMails("/v1/mails?state=FAILED&code=SMTP_550", cloudVault)) == 3 })
	for _, m := range d.listMails("/v1/mails?state=FAILED", cloudVault) {
		if m.Cause != "created" || m.Attempts != 1 || m.Answer != "550 5.1.1" || m.Code != "SMTP_550" {
			t.Errorf("listed %+v", m)
		}
	}
	for path, want := range map[string]int{"/v1/mails?state=SENT": 0, "/v1/mails?state=FAILED&code=CODE_EXPIRED": 0, "/v1/mails?state=FAILED&since=2100-01-01T00:00:00Z": 0, "/v1/mails?state=FAILED&limit=2": 2} {
		if got := len(d.listMails(path, cloudVault)); got != want {
			t.Errorf("%s lists %d, want %d", path, got, want)
		}
	}
	if got := len(d.listMails("/v1/mails?state=FAILED", finsei)); got != 0 {
		t.Errorf("another tenant sees %d mails", got)
	}
	byChannel := func(method, url string) answer {
		request, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer channel-token")
		request.Header.Set("X-Tenant-ID", cloudVault)
		a, err := send(request)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	resend := d.ledger("/v1/registrations/" + ids[0] + "/mails:resend")
	for name, a := range map[string]struct {
		answer
		want int
	}{
		"a channel lists":                {byChannel(http.MethodGet, d.ledger("/v1/mails?state=FAILED")), http.StatusForbidden},
		"a channel orders":               {byChannel(http.MethodPost, resend), http.StatusForbidden},
		"of another tenant":              {d.do(http.MethodPost, resend, finsei, nil), http.StatusNotFound},
		"mails of another tenant":        {d.do(http.MethodGet, d.ledger("/v1/registrations/"+ids[0]+"/mails"), finsei, nil), http.StatusNotFound},
		"no state":                       {d.do(http.MethodGet, d.ledger("/v1/mails"), cloudVault, nil), http.StatusBadRequest},
		"a filter of something else":     {d.do(http.MethodPost, d.ledger("/v1/mails:resend"), cloudVault, []byte(`{"state":"FAILED","to":"x"}`)), http.StatusBadRequest},
		"a cursor that is none":          {d.do(http.MethodGet, d.ledger("/v1/mails?state=FAILED&after=x"), cloudVault, nil), http.StatusBadRequest},
		"a filter that is no one object": {d.do(http.MethodPost, d.ledger("/v1/mails:resend"), cloudVault, []byte(`{"state":"FAILED"}{}`)), http.StatusBadRequest},
	} {
		if a.status != a.want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}

	server.knowsNobody.Store(false)
	if a := d.do(http.MethodPost, resend, cloudVault, nil); a.status != http.StatusAccepted {
		t.Fatalf("the order of one answers %d %s", a.status, a.body)
	}
	d.reaches(cloudVault, ids[0], "ACTIVATION_SENT")
	d.eventually(waitLong, "the ledger knows it", func() bool { return len(d.listMails("/v1/mails?state=SENT", cloudVault)) == 1 })
	if all := d.listMails("/v1/registrations/"+ids[0]+"/mails", cloudVault); len(all) != 2 || all[0].State != "FAILED" || all[1].Cause != "code1" || all[1].Answer != "250" {
		t.Errorf("its mails are %+v", all)
	}
	var ordered struct{ Ordered, Skipped []any }
	a := d.do(http.MethodPost, d.ledger("/v1/mails:resend"), cloudVault, []byte(`{"state":"FAILED","limit":100}`))
	if err := json.Unmarshal(a.body, &ordered); err != nil || len(ordered.Ordered) != 2 || len(ordered.Skipped) != 0 {
		t.Errorf("the order of many answers %d %s", a.status, a.body)
	}
	d.eventually(waitLong, "all mails are sent", func() bool { return len(d.listMails("/v1/mails?state=SENT", cloudVault)) == 3 })
	if a := d.do(http.MethodPost, d.ledger("/v1/mails:resend"), cloudVault, []byte(`{"state":"FAILED"}`)); !strings.Contains(string(a.body), `"ordered":[]`) {
		t.Errorf("the same order once more answers %d %s", a.status, a.body)
	}
	if n := server.taken.Load(); n != 3 {
		t.Errorf("%d mails were taken", n)
	}
	d.checkOrders(ids)
}

// checkOrders looks for the record of each order, in the stream and in the tenant's feed.
func (d *dev) checkOrders(ids []string) {
	d.t.Helper()
	js := d.jetStream(d.t)
	for _, name := range []string{bus.Tenants, bus.FeedStream(cloudVault)} {
		recorded := map[string]int{}
		d.eventually(waitLong, "the orders are in "+name, func() bool {
			s, err := js.Stream(d.t.Context(), name)
			if err != nil {
				d.t.Fatal(err)
			}
			clear(recorded)
			for seq := s.CachedInfo().State.FirstSeq; seq <= s.CachedInfo().State.LastSeq && seq > 0; seq++ {
				m, err := s.GetMsg(d.t.Context(), seq)
				if errors.Is(err, jetstream.ErrMsgNotFound) {
					continue
				}
				if err != nil {
					d.t.Fatal(err)
				}
				var order struct{ Actor, Registration string }
				if m.Header["ce-type"][0] != "operator.resend_ordered" {
					continue
				}
				if err := json.Unmarshal(m.Data, &order); err != nil || order.Actor == "" {
					d.t.Errorf("recorded %s, %v", m.Data, err)
				}
				recorded[order.Registration]++
			}
			return len(recorded) >= len(ids)
		})
		for _, id := range ids {
			if recorded[id] != 1 {
				d.t.Errorf("%s: %d records of the order for %s", name, recorded[id], id)
			}
		}
	}
}
