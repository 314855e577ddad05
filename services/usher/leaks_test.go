package usher

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

// spy is somebody of a tenant, and what the token is for a role.
type spy struct {
	tenant string
	token  func(role tenant.Role) string
	header func(of string) string // X-Tenant-ID of what is about another tenant's things
	feed   func(of string) string // whose subscriber it connects as
}

// operation asks for what is of a tenant, and returns what was asked and all that was said.
type operation func(w *leaky, r *rand.Rand, s spy, of string) (asked string, got answer)

func get(role tenant.Role, at func(w *leaky) string, path func(w *leaky, r *rand.Rand, of string) string) operation {
	return func(w *leaky, r *rand.Rand, s spy, of string) (string, answer) {
		p := path(w, r, of)
		return p, w.ask(s.token(role), s.header(of), http.MethodGet, at(w)+p, "")
	}
}

func atGateway(w *leaky) string { return w.gateway }
func atLedger(w *leaky) string  { return w.ledger }

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// feedPath reads from nowhere, or after a place, events of all types or of some.
func feedPath(w *leaky, r *rand.Rand, of string) string {
	q := url.Values{"limit": {strconv.Itoa(1 + r.IntN(50))}}
	if r.IntN(2) == 0 {
		q.Set("after", pick(r, w.cursors[of]))
	}
	if r.IntN(3) == 0 {
		q.Set("types", pick(r, []string{events.Requested{}.Type(), events.Validated{}.Type() + "," + events.RecordAccessed{}.Type()}))
	}
	if r.IntN(4) == 0 {
		q.Set("purpose", "export")
	}
	return q.Encode()
}

// leakOperations by their names. Those of change would change another tenant's things.
var leakOperations = map[string]operation{
	"register": func(w *leaky, r *rand.Rand, s spy, of string) (string, answer) {
		body := person("Ingrid", of, "1990-05-15", fmt.Sprintf("more%d@%s.example", r.Int64(), of))
		under := s.header(of)
		a := w.ask(s.token(tenant.Channel), under, http.MethodPost, w.gateway+"/v1/registrations", string(body))
		if a.status == http.StatusAccepted {
			w.ids[under] = append(w.ids[under], a.json(w.t)["id"].(string))
		}
		return of, a
	},
	"status":       get(tenant.Channel, atGateway, func(w *leaky, r *rand.Rand, of string) string { return "/v1/registrations/" + pick(r, w.ids[of][:4]) }),
	"registration": get(tenant.Compliance, atLedger, func(w *leaky, r *rand.Rand, of string) string { return "/v1/registrations/" + pick(r, w.ids[of][:4]) }),
	"registrations": get(tenant.Operator, atLedger, func(_ *leaky, r *rand.Rand, _ string) string {
		return "/v1/registrations?limit=" + strconv.Itoa(1+r.IntN(20))
	}),
	"mails": get(tenant.Operator, atLedger, func(w *leaky, r *rand.Rand, of string) string {
		return "/v1/registrations/" + pick(r, w.ids[of][:4]) + "/mails"
	}),
	"letters": get(tenant.Operator, atLedger, func(*leaky, *rand.Rand, string) string { return "/v1/mails?state=SENT" }),
	"stats":   get(tenant.Compliance, atLedger, func(*leaky, *rand.Rand, string) string { return "/v1/stats" }),
	"reviews": get(tenant.Reviewer, atLedger, func(*leaky, *rand.Rand, string) string { return "/v1/reviews" }),
	"review":  get(tenant.Reviewer, atLedger, func(w *leaky, _ *rand.Rand, of string) string { return "/v1/reviews/" + w.ids[of][0] + "-2" }),
	"cases":   get(tenant.Reviewer, atLedger, func(*leaky, *rand.Rand, string) string { return "/v1/cases" }),
	"feed":    get(tenant.Compliance, atLedger, func(w *leaky, r *rand.Rand, of string) string { return "/v1/events?" + feedPath(w, r, of) }),
	"stream":  get(tenant.Compliance, atLedger, func(w *leaky, r *rand.Rand, of string) string { return "/v1/events/stream?" + feedPath(w, r, of) }),
	"resume": func(w *leaky, r *rand.Rand, s spy, of string) (string, answer) {
		place := pick(r, w.cursors[of])
		return place, w.ask(s.token(tenant.Compliance), s.header(of), http.MethodGet, w.ledger+"/v1/events/stream", "", "Last-Event-ID", place)
	},
	"keys":     get(tenant.Compliance, atLedger, func(*leaky, *rand.Rand, string) string { return "/v1/evidence/keys" }),
	"webhooks": get(tenant.Admin, atLedger, func(*leaky, *rand.Rand, string) string { return "/v1/webhooks" }),
	"subscriber": func(w *leaky, r *rand.Rand, s spy, of string) (string, answer) {
		return w.take(s.feed(of), of, 1+r.IntN(10))
	},
}

// take takes events as one tenant's subscriber from a feed, with nobody's help to find it.
func (w *leaky) take(as, of string, n int) (asked string, got answer) {
	inbox, err := w.conns[as].SubscribeSync(w.conns[as].NewRespInbox())
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = inbox.Unsubscribe() }()
	subject := "$JS." + bus.Domain + ".API.CONSUMER.MSG.NEXT." + bus.FeedStream(of) + ".audit"
	if err := w.conns[as].PublishRequest(subject, inbox.Subject, fmt.Appendf(nil, `{"batch":%d,"no_wait":true}`, n)); err != nil {
		w.t.Fatal(err)
	}
	wait := 100 * time.Millisecond
	if as == of {
		wait = waitLong
	}
	var said bytes.Buffer
	for range n {
		m, err := inbox.NextMsg(wait)
		if err != nil || m.Header.Get("Status") != "" {
			break
		}
		got.status = http.StatusOK
		fmt.Fprintln(&said, m.Subject, m.Header, string(m.Data))
		if n%2 == 0 {
			_ = m.Nak()
		}
	}
	got.body = said.Bytes()
	return subject, got
}

// leak names what an answer to somebody of a tenant has of another one. A refusal may repeat what
// was asked for.
func (w *leaky) leak(of, asked string, a answer) string {
	var header bytes.Buffer
	_ = a.header.Write(&header)
	said := header.String() + string(a.body)
	for _, other := range canaries {
		if other == of {
			continue
		}
		for _, theirs := range append(slices.Clone(w.ids[other]), other) {
			if strings.Contains(said, theirs) && (a.status < 300 || !strings.Contains(asked, theirs)) {
				return theirs
			}
		}
	}
	return ""
}

func TestATenantLearnsNothingOfAnotherByAThousandOperations(t *testing.T) {
	w := startLeaky(t)
	w.populate()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("SEED=%d", seed)
	kinds := slices.Sorted(maps.Keys(leakOperations))
	own, refused := map[string]int{}, map[string]int{}
	for i := range 1000 {
		me := pick(r, canaries)
		s := spy{me, func(role tenant.Role) string { return me + "-" + string(role) }, func(of string) string { return pick(r, []string{me, of}) }, func(string) string { return me }}
		kind, of := pick(r, kinds), me
		if r.IntN(2) == 0 {
			of = pick(r, canaries)
		}
		asked, a := leakOperations[kind](w, r, s, of)
		if found := w.leak(me, asked, a); found != "" {
			t.Fatalf("operation %d, SEED=%d: %s of %s showed %s to somebody of %s: %d %s", i, seed, kind, of, found, me, a.status, a.body)
		}
		switch {
		case of == me && a.status < 300:
			own[kind]++
		case of == me && a.status > 0:
			t.Errorf("%s of the own tenant answers %d %s", kind, a.status, a.body)
		default:
			refused[kind]++
		}
	}
	for _, kind := range kinds {
		if own[kind] == 0 || refused[kind] == 0 {
			t.Errorf("%s: %d answered to the own tenant, %d of another", kind, own[kind], refused[kind])
		}
	}

	// The control: somebody whose token, or connection, is also of other tenants.
	// What shows nothing of any tenant cannot be told from another's.
	blind := []string{"cases", "keys", "webhooks"}
	for _, kind := range kinds {
		me, of := canaries[0], canaries[1]
		s := spy{me, func(tenant.Role) string { return everybody }, func(of string) string { return of }, func(of string) string { return of }}
		noticed := false
		for range 20 {
			asked, a := leakOperations[kind](w, r, s, of)
			noticed = noticed || w.leak(me, asked, a) != ""
		}
		if noticed == slices.Contains(blind, kind) {
			t.Errorf("a leak by %s is noticed: %v", kind, noticed)
		}
	}
}
