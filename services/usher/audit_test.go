//go:build process

package usher

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/services/usher/mailsink"
)

// audit checks the promise for what was acknowledged, from the outside.
func (c *cluster) audit(all []accepted, limit time.Duration) {
	c.t.Helper()
	b, nc := c.bus()
	healed := time.Now()
	histories := c.complete(b, all, limit)
	c.t.Logf("%d complete %v after the last kill", len(histories), time.Since(healed).Round(10*time.Millisecond))
	c.verify(all, histories)
	c.verifySubjects(nc)
	c.verifyMails(all, histories)
	c.verifyQueues(nc)
	c.verifyActivation(all, histories)
}

// complete waits until every registration has its mail or its rejection, and reports those
// that have not within the limit.
func (c *cluster) complete(b *bus.Bus, all []accepted, limit time.Duration) map[string][]events.Record {
	c.t.Helper()
	histories := map[string][]events.Record{}
	open, began := 0, time.Now()
	done := within(limit, func() bool {
		open = 0
		for _, a := range all {
			if _, done := histories[a.id]; done {
				continue
			}
			h, err := b.History(c.t.Context(), cloudVault, a.id)
			if err != nil {
				return false
			}
			if status := events.Fold(h).Status; status == events.StatusActivationSent || status == events.StatusRejected {
				histories[a.id] = h
			} else {
				open++
			}
		}
		return open == 0
	})
	c.t.Logf("%d of %d are complete %v after the last was accepted", len(histories), len(all), time.Since(began).Round(10*time.Millisecond))
	if !done {
		c.report("%d of %d acknowledged registrations are not complete after %v", open, len(all), limit)
	}
	return histories
}

// verify checks that every address has one account, and every other registration of it the
// documented rejection.
func (c *cluster) verify(all []accepted, histories map[string][]events.Record) {
	c.t.Helper()
	accounts, ids := map[string]int{}, map[string]bool{}
	for _, a := range all {
		if ids[a.id] {
			c.report("two keys gave the registration %s", a.id)
		}
		ids[a.id] = true
		if histories[a.id] == nil {
			continue
		}
		state := events.Fold(histories[a.id])
		email := string(bytes.ToLower([]byte(a.email)))
		switch {
		case state.Status == events.StatusActivationSent:
			accounts[email]++
		case len(state.Codes) != 1 || state.Codes[0] != events.CodeDuplicateEmail:
			c.report("%s was rejected because of %v", a.id, state.Codes)
		default:
			accounts[email] += 0
		}
	}
	for email, n := range accounts {
		if n != 1 {
			c.report("%s has %d accounts", email, n)
		}
	}
}

// verifySubjects checks that no fact was stored twice.
func (c *cluster) verifySubjects(nc *nats.Conn) {
	c.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := js.Stream(c.t.Context(), bus.Registrations)
	if err != nil {
		c.t.Fatal(err)
	}
	if state := s.CachedInfo().State; state.Msgs != state.NumSubjects {
		c.report("%d events stand under %d subjects", state.Msgs, state.NumSubjects)
	}
}

// verifyMails checks that every account has a mail, under one Message-ID and with the code of
// its first epoch.
func (c *cluster) verifyMails(all []accepted, histories map[string][]events.Record) {
	c.t.Helper()
	ring, err := keys.Open(filepath.Join(c.dir, "keys"))
	if err != nil {
		c.t.Fatal(err)
	}
	mails := map[string]map[string]string{} // registration -> Message-Id -> code
	for _, m := range c.mails() {
		id := m.Headers["Message-Id"]
		if len(id) < 38 {
			c.t.Fatalf("Message-Id %q", id)
		}
		registration := id[1:37]
		if mails[registration] == nil {
			mails[registration] = map[string]string{}
		}
		mails[registration][id] = codePattern.FindString(m.Text)
	}
	for _, a := range all {
		sent := mails[a.id]
		if histories[a.id] == nil {
			continue
		}
		if events.Fold(histories[a.id]).Status == events.StatusRejected {
			if len(sent) != 0 {
				c.report("a mail was sent for the rejected %s", a.id)
			}
			continue
		}
		code, err := ring.ActivationCode(a.id, 1)
		if err != nil {
			c.t.Fatal(err)
		}
		for id, got := range sent {
			if got != code {
				c.report("mail %s has another code", id)
			}
		}
		if len(sent) != 1 {
			c.report("%s has mails under %d Message-IDs", a.id, len(sent))
		}
	}
}

// verifyQueues checks that no message is left undelivered or unacknowledged, and that kills
// did cause redeliveries.
func (c *cluster) verifyQueues(nc *nats.Conn) {
	c.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, consumer := range bus.Consumers() {
		empty := within(60*time.Second, func() bool {
			found, err := js.Consumer(c.t.Context(), consumer.Stream, consumer.Name)
			if err != nil {
				return false
			}
			info := found.CachedInfo()
			return info.NumPending == 0 && info.NumAckPending == 0
		})
		if !empty {
			c.report("%s still has messages to deliver", consumer.Name)
		}
	}
	dead, err := js.Stream(c.t.Context(), bus.DeadLetters)
	if err != nil {
		c.t.Fatal(err)
	}
	if n := dead.CachedInfo().State.Msgs; n != 0 {
		c.report("%d dead letters", n)
	}
}

func (c *cluster) mails() []mailsink.Mail {
	c.t.Helper()
	all, err := c.sink.Mails("")
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

// verifyActivation activates some of the accounts with the code that was mailed.
func (c *cluster) verifyActivation(all []accepted, histories map[string][]events.Record) {
	c.t.Helper()
	d := &dev{t: c.t}
	d.command.HTTP = c.gateway
	left := 20
	for _, m := range c.mails() {
		id := m.Headers["Message-Id"][1:37]
		if histories[id] == nil || left == 0 {
			continue
		}
		left--
		a := d.do(http.MethodPost, d.gateway("/v1/registrations/"+id+"/activation"), cloudVault, fmt.Appendf(nil, `{"code":%q}`, codePattern.FindString(m.Text)))
		if a.status != http.StatusOK {
			c.report("activation answers %d %s", a.status, a.body)
		}
	}
	if left != 0 && len(all) > 40 {
		c.report("%d activations were not tried", left)
	}
}
