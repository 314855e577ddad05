package simulation

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// reviewers are the tokens, and the subjects, of those who decide cases.
var reviewers = []string{"rita", "sam"}

// reviewer looks through the queue and decides what is open, or hears that another did.
type reviewer struct {
	world *world
	name  string
	shown int               // how often a person
	heard map[string]answer // what settled a decision, by case
}

// shift is how long a reviewer works: beyond the faults and two reviews of 20 s.
const shift = time.Minute

func (r *reviewer) work() {
	time.Sleep(r.world.faults.between("begins|"+r.name, 0, 6*time.Second))
	for begun := time.Now(); time.Since(begun) < shift; time.Sleep(time.Second) {
		var page struct {
			Reviews []struct{ ID string }
		}
		a := r.ask(http.MethodGet, "/v1/reviews?state=OPEN", "")
		if a.status == http.StatusOK && json.Unmarshal([]byte(a.body), &page) == nil {
			for _, c := range page.Reviews {
				r.decide(c.ID)
			}
		}
	}
}

func (r *reviewer) ask(method, path, body string) answer {
	return r.world.send(events.Ledger, method, path, body, map[string]string{"Authorization": "Bearer " + r.name, "Content-Type": "application/json"})
}

// decide looks at a case and then says the same until the answer settles it.
func (r *reviewer) decide(id string) {
	if _, settled := r.heard[id]; settled {
		return
	}
	var c struct{ Person *struct{} }
	if a := r.ask(http.MethodGet, "/v1/reviews/"+id, ""); a.status == http.StatusOK && json.Unmarshal([]byte(a.body), &c) == nil && c.Person != nil {
		r.shown++
	}
	time.Sleep(r.world.faults.between("thinks|"+r.name+r.world.faults.named(id), 0, 3*time.Second))
	verdict, reason := r.verdict(id)
	for range 20 {
		a := r.ask(http.MethodPost, "/v1/reviews/"+id+"/"+verdict, fmt.Sprintf(`{"reason":%q}`, reason))
		r.world.faults.say("%s: %s of %s is answered %d", r.name, verdict, id, a.status)
		switch a.status {
		case 0, http.StatusServiceUnavailable:
			time.Sleep(500 * time.Millisecond)
			continue
		}
		r.heard[id] = a
		return
	}
}

// verdict is mostly an approval.
func (r *reviewer) verdict(id string) (verdict, reason string) {
	if r.world.faults.number("verdict|"+r.name+r.world.faults.named(id))%3 == 0 {
		return "reject", events.ReasonTrueMatch
	}
	return "approve", events.ReasonFalsePositive
}

// checkReviews compares what reviewers were told and shown with what is stored.
func (f *findings) checkReviews(desk []*reviewer) {
	decisions := map[string]events.ReviewDecided{}
	for id, history := range f.histories {
		first := map[int]string{}
		asked := map[int]bool{}
		for _, r := range history {
			switch e := r.Event.(type) {
			case events.ReviewRequired:
				first[e.NextCase], asked[e.NextCase] = e.FirstActor, true
			case events.ReviewDecided:
				decisions[fmt.Sprint(id, "-", e.Case)] = e
				if !asked[e.Case] {
					f.violated("I8: nobody asked for decision %d of %s", e.Case, id)
				}
				if e.Actor == first[e.Case] {
					f.violated("I10: %s has decided twice of %s", e.Actor, id)
				}
				if first[e.Case] != "" {
					f.faults.count("second of four eyes")
				}
			}
		}
		for version := range asked {
			f.checkCase(id, version, decisions)
		}
	}
	logged := f.accesses()
	for _, r := range desk {
		for id, a := range r.heard {
			f.checkHeard(r, id, a, decisions[id])
		}
		if r.shown > logged[r.name] {
			f.violated("I10: %s was shown a person %d times, %d are logged", r.name, r.shown, logged[r.name])
		}
	}
}

// checkCase checks that a case that was asked for is decided, and that ledger has it so.
func (f *findings) checkCase(id string, version int, decisions map[string]events.ReviewDecided) {
	name := fmt.Sprint(id, "-", version)
	e, decided := decisions[name]
	var c struct {
		State   string
		Decided events.ReviewDecided
	}
	state := map[bool]string{true: "APPROVED", false: "REJECTED"}[e.Approved]
	if decided && has[events.Expired](f.histories[id]) { // the person is erased, and the case with it
		state, e = "WITHDRAWN", events.ReviewDecided{}
	}
	if !decided || !f.document(events.Ledger, "reviews", name, &c) || c.State != state || c.Decided != e {
		f.violated("I10: case %s is %+v, decided %v as %+v", name, c, decided, e)
	}
}

func (f *findings) checkHeard(r *reviewer, id string, a answer, stored events.ReviewDecided) {
	verdict, reason := r.verdict(id)
	own := stored.Actor == r.name && stored.Approved == (verdict == "approve") && stored.Reason == reason
	switch {
	case a.status == http.StatusOK && own:
		f.faults.count("a reviewer decided")
	case a.status == http.StatusConflict && stored.Actor != "" && stored.Actor != r.name:
		f.faults.count("a reviewer was late")
	case a.status == http.StatusForbidden:
		f.faults.count("a reviewer may not be the second")
	default:
		f.violated("I10: %s is answered %d %s of case %s, decided by %s", r.name, a.status, a.body, id, stored.Actor)
	}
}

// accesses are how often facts say that somebody was shown a person.
func (f *findings) accesses() map[string]int {
	f.broker.mu.Lock()
	defer f.broker.mu.Unlock()
	logged := map[string]int{}
	for _, m := range f.broker.streams[bus.Tenants].messages {
		if m == nil {
			f.violated("I10: a fact about a tenant was deleted")
			continue
		}
		r, err := events.Decode(m.subject, headerOf(m.message), m.data)
		if err != nil {
			f.violated("I10: stored fact %s: %v", m.subject, err)
			continue
		}
		if e, is := r.Event.(events.PersonAccessed); is {
			logged[e.Actor]++
		}
	}
	return logged
}
