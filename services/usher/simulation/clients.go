package simulation

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/notifier/mail"
)

// client is somebody who registers once, under one idempotency key, and remembers all that was
// answered.
type client struct {
	world     *world
	name, key string
	email     string
	body      string
	id        string // that the key stands for
	damaged   bool   // nobody can open its password: it chooses another with the code

	mu        sync.Mutex
	ids       map[string]bool // that were answered
	accepted  bool
	created   bool // 201: told that the account is there
	rejected  bool // told that the registration is refused
	activated bool // told that the code was right
	erasing   bool // an administrator was told that the person is erased
	wrong     []string
}

// habits of a client.
const (
	once      = iota
	twin      // another one registers the same address under another key at the same time
	twice     // sends the request again while the first is under way
	invalid   // was born tomorrow
	revising  // sends another content under the same key afterwards
	forgotten // is erased at some moment, and sends the request again afterwards
	habits
)

// people returns the clients of a seed with what each does.
func (w *world) people() map[*client]int {
	all := map[*client]int{}
	add := func(name, given, family, email, birth string, habit int) {
		c := &client{world: w, name: name, key: fmt.Sprintf("key %s", name), email: email, ids: map[string]bool{}}
		c.body = fmt.Sprintf(`{"applicant":{"givenName":%q,"familyName":%q,"email":%q,"birthDate":%q},"credentials":{"password":"seven quiet lanterns"}}`, given, family, email, birth)
		id, err := w.ring.RegistrationID(cloudVault, c.key)
		if err != nil {
			panic(err)
		}
		c.id = id
		if w.faults.number("damaged|"+name)%4 == 0 {
			c.damaged, w.broker.damaged[id] = true, true
		}
		w.faults.know(id, name)
		all[c] = habit
	}
	for i := range 3 + int(w.faults.number("people")%3) {
		habit := int(w.faults.number(fmt.Sprint("habit ", i)) % habits)
		name, email := string(rune('a'+i)), fmt.Sprintf("person.%d@example.com", i)
		birth := []string{"1960-05-15", "1980-09-09"}[i%2] // the second is under 21 when fake time begins
		if habit == invalid {
			birth = "2031-01-01"
		}
		add(name, "Ingrid", "Solveig", email, birth, habit)
		if habit == twin {
			add(name+"'", "Ingrid", "Solveig", strings.ToUpper(email), birth, once)
		}
	}
	if w.faults.number("listed")%3 == 0 {
		add("listed", "Ignacio Efrain", "Trejoblanco Zuritaval", "listed@example.com", "1968-11-30", once)
	}
	return all
}

// live does what the client does, from the request to the activation.
func (c *client) live(habit int) {
	time.Sleep(c.world.faults.between("begins|"+c.name, 0, 4*time.Second))
	var registering sync.WaitGroup
	if habit == twice {
		registering.Go(c.register)
	}
	var erasing sync.WaitGroup
	if habit == forgotten {
		erasing.Go(c.erase)
	}
	c.register()
	registering.Wait()
	if habit == revising {
		c.revise()
	}
	if m, ok := c.awaitMail(); ok && c.world.faults.number("forgets|"+c.name)%4 != 0 {
		c.activate(m)
	}
	if erasing.Wait(); habit == forgotten {
		c.insist()
	}
}

// erase lets an administrator erase the person, at a moment that the seed chooses.
func (c *client) erase() {
	time.Sleep(c.world.faults.between("erased|"+c.name, 0, time.Second))
	path := "/v1/registrations/" + c.id + "/personal-data"
	c.tryBy(http.MethodDelete, "erasure", path, "", map[string]string{}, func(a answer) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.erasing = a.status == http.StatusAccepted || a.status == http.StatusOK
		return c.erasing
	})
}

// insist sends the request of an erased registration again, which must be refused.
func (c *client) insist() {
	c.try("request again", "/v1/registrations", c.body, map[string]string{"Idempotency-Key": c.key}, func(a answer) bool {
		switch {
		case a.status == http.StatusUnprocessableEntity && strings.Contains(a.body, "erased"):
			return true
		case a.status == 0, a.status == http.StatusServiceUnavailable, a.status == http.StatusTooManyRequests:
			return false
		}
		c.complain("I11: the request of an erased registration is answered %d %s", a.status, a.body)
		return true
	})
}

// patience is how long a client goes on, far beyond what it should take.
const patience = 4 * time.Minute

// try sends until the answer settles it.
func (c *client) try(what, path, body string, headers map[string]string, settles func(answer) bool) {
	c.tryBy(http.MethodPost, what, path, body, headers, settles)
}

func (c *client) tryBy(method, what, path, body string, headers map[string]string, settles func(answer) bool) {
	headers["Authorization"], headers["X-Tenant-ID"], headers["Content-Type"] = "Bearer "+c.world.token, cloudVault, "application/json"
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(500 * time.Millisecond) {
		a := c.world.send(events.Gateway, method, path, body, headers)
		c.world.faults.say("%s: %s is answered %d", c.name, what, a.status)
		if settles(a) {
			return
		}
	}
	c.complain("I9: %s was never answered", what)
}

func (c *client) complain(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *client) register() {
	headers := map[string]string{"Idempotency-Key": c.key}
	if c.world.faults.number("waits|"+c.name)%2 == 0 {
		headers["Prefer"] = "wait=5"
	}
	c.try("registration", "/v1/registrations", c.body, headers, c.heard)
}

// heard notes what an answer promises, and reports whether it promises something.
func (c *client) heard(a answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.status == http.StatusUnprocessableEntity && strings.Contains(a.body, "erased") {
		c.accepted = true // it was stored before
		return true
	}
	switch a.status {
	case http.StatusAccepted, http.StatusCreated:
		var receipt struct{ ID string }
		_ = json.Unmarshal([]byte(a.body), &receipt)
		c.ids[receipt.ID], c.accepted = true, true
		c.created = c.created || a.status == http.StatusCreated
	case http.StatusUnprocessableEntity, http.StatusConflict:
		if strings.Contains(a.body, "idempotency-key-reused") {
			c.wrong = append(c.wrong, "I3: the same content under the same key is told to be another")
		}
		c.ids[a.header.Get("X-Registration-ID")] = true
		c.accepted, c.rejected = true, true
	case 0, http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return false
	default:
		c.wrong = append(c.wrong, fmt.Sprintf("I3: a valid request is answered %d %s", a.status, a.body))
	}
	return true
}

// revise sends another content under the same key, which must be refused.
func (c *client) revise() {
	other := strings.Replace(c.body, "Ingrid", "Astrid", 1)
	c.try("other content", "/v1/registrations", other, map[string]string{"Idempotency-Key": c.key}, func(a answer) bool {
		switch a.status {
		case 0, http.StatusServiceUnavailable, http.StatusTooManyRequests:
			return false
		case http.StatusUnprocessableEntity:
			if strings.Contains(a.body, "idempotency-key-reused") {
				return true
			}
		}
		c.complain("I3: other content under a used key is answered %d %s", a.status, a.body)
		return true
	})
}

// awaitMail waits for a mail of this registration.
func (c *client) awaitMail() (mail.Letter, bool) {
	for range 40 {
		for _, m := range c.world.box.to(c.email) {
			if strings.HasPrefix(m.MessageID, c.id) {
				return m, true
			}
		}
		time.Sleep(500 * time.Millisecond)
	}
	return mail.Letter{}, false
}

// chosen is long enough for every configuration.
const chosen = "eight quiet lanterns on a hill"

func (c *client) presentation(code string) string {
	if c.damaged {
		return fmt.Sprintf(`{"code":%q,"password":%q}`, code, chosen)
	}
	return fmt.Sprintf(`{"code":%q}`, code)
}

// activate presents the code of a mail, some first a wrong one, some twice at once.
func (c *client) activate(m mail.Letter) {
	path := "/v1/registrations/" + c.id + "/activation"
	if c.world.faults.number("mistypes|"+c.name)%3 == 0 {
		c.try("wrong code", path, c.presentation("AAAAAAAAAAAAAAAA"), map[string]string{"Idempotency-Key": "wrong"}, func(a answer) bool {
			if a.status == http.StatusOK {
				c.complain("I5: a wrong code activates")
			}
			return a.status == http.StatusBadRequest || a.status == http.StatusOK || a.status == http.StatusGone
		})
	}
	present := func(key string) {
		c.try("code "+key, path, c.presentation(m.Code), map[string]string{"Idempotency-Key": key}, func(a answer) bool {
			if c.gone(a) {
				return true
			}
			if a.status != http.StatusOK {
				return a.status == http.StatusGone // too late
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.activated = true
			return true
		})
	}
	var presenting sync.WaitGroup
	if c.world.faults.number("hurries|"+c.name)%3 == 0 {
		presenting.Go(func() { present("second") })
	}
	present("first")
	presenting.Wait()
}

// gone reports whether a code is refused because the person is erased.
func (c *client) gone(a answer) bool {
	return a.status == http.StatusGone && strings.Contains(a.body, "erased")
}
