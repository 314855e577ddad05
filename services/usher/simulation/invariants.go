package simulation

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/notifier/mail"
	"github.com/usherhq/usher/services/usher/proof"
)

// The invariants. Each is checked from what the clients heard, from the streams, from every
// change that was ever made to the stores, and from the mailbox:
//
//	I1  what was acknowledged has one end: an account, a rejection or a dead letter
//	I2  one account for a registration and for an address, at every moment; one event a subject
//	I3  one key and content has one registration, other content under the key is refused
//	I4  what exists was asked for, and what a client was told is so
//	I5  an account has its mail, every copy with one Message-ID and the right code, used once
//	I6  versions count up by one and no state goes back
//	I7  as many ends as acknowledgements
//	I8  no event without its predecessor, none that tells another decision than its document,
//	    and no active account without the password that its customer chose
//	I9  after the faults all work ends, in time, and without dead letters
//	I10 a case has one decision, which whoever decided was told, and is by two persons where it must
//	    be; nobody is shown a person without a fact that says so
//	I11 who is erased is nowhere, in clear, sealed or hashed, and stays erased

// findings is what one seed's run shows.
type findings struct {
	*world
	clients   []*client
	histories map[string][]events.Record // by registration, oldest first
	dead      []*stored
	problems  []string
}

func (f *findings) violated(format string, args ...any) {
	f.problems = append(f.problems, f.faults.named(fmt.Sprintf(format, args...)))
}

// check returns every violation.
func (w *world) check(clients []*client, desk []*reviewer) []string {
	f := &findings{world: w, clients: clients, histories: map[string][]events.Record{}}
	f.readStreams()
	f.problems = append(f.problems, w.failures...)
	for _, c := range clients {
		f.problems = append(f.problems, c.wrong...)
		f.checkPromise(c)
		f.checkErasure(c)
		f.checkForgetting(c)
	}
	f.checkEnds()
	f.checkMails()
	for id, history := range f.histories {
		f.checkHistory(id, history)
	}
	for service, d := range w.stores {
		f.checkVersions(service, d)
	}
	f.checkAccounts()
	f.checkDecisions()
	f.checkReviews(desk)
	return f.problems
}

func (f *findings) readStreams() {
	f.broker.mu.Lock()
	defer f.broker.mu.Unlock()
	subjects := map[string]bool{}
	for _, m := range f.broker.streams[bus.Registrations].messages {
		if m == nil {
			f.violated("I1: an event was deleted")
			continue
		}
		if subjects[m.subject] {
			f.violated("I2: several events stand under %s", m.subject)
		}
		subjects[m.subject] = true
		r, err := events.Decode(m.subject, headerOf(m.message), m.data)
		if err != nil {
			f.violated("I8: stored event %s: %v", m.subject, err)
			continue
		}
		r.Sequence, r.Stored = m.sequence, m.at
		f.histories[r.Subject.Registration] = append(f.histories[r.Subject.Registration], r)
	}
	for _, m := range f.broker.streams[bus.DeadLetters].messages {
		f.dead = append(f.dead, m)
		f.violated("I9: dead letter %s: %s %s", m.subject, headerOf(m.message).Get(bus.HeaderReason), headerOf(m.message).Get(bus.HeaderDetail))
	}
}

// checkPromise compares what a client was told with what is.
func (f *findings) checkPromise(c *client) {
	history := f.histories[c.id]
	for id := range c.ids {
		if id != c.id {
			f.violated("I3: the key of %s stands for %s and gave %s", c.name, c.id, id)
		}
	}
	if c.accepted && len(history) == 0 {
		f.violated("I1: %s was acknowledged and is not stored", c.name)
	}
	if c.created && !has[events.AccountCreated](history) {
		f.violated("I4: %s was told of an account that is not there", c.name)
	}
	if c.rejected && !has[events.Rejected](history) {
		f.violated("I4: %s was told of a rejection that is not there", c.name)
	}
	if c.activated && !has[events.AccountActivated](history) {
		f.violated("I4: %s was told of an activation that is not there", c.name)
	}
}

func has[E events.Event](history []events.Record) bool { return count[E](history) > 0 }

func count[E events.Event](history []events.Record) (n int) {
	for _, r := range history {
		if _, ok := r.Event.(E); ok {
			n++
		}
	}
	return n
}

// checkEnds checks that everything acknowledged has ended in one way, and nothing else exists.
func (f *findings) checkEnds() {
	acknowledged, ends := 0, 0
	known := map[string]bool{}
	for _, c := range f.clients {
		known[c.id] = true
		if !c.accepted {
			continue
		}
		acknowledged++
		n := count[events.AccountCreated](f.histories[c.id]) + count[events.Rejected](f.histories[c.id])
		if c.erasing {
			n = count[events.ErasureRequested](f.histories[c.id])
		}
		for _, letter := range f.dead {
			if strings.Contains(letter.subject, c.id) && n == 0 {
				n++
			}
		}
		if n != 1 {
			f.violated("I1: %s was acknowledged and has %d ends: %s", c.name, n, told(f.histories[c.id]))
		}
		ends += n
	}
	if acknowledged != ends {
		f.violated("I7: %d were acknowledged and %d have ended", acknowledged, ends)
	}
	for id := range f.histories {
		if !known[id] {
			f.violated("I4: nobody asked for %s", id)
		}
	}
}

func told(history []events.Record) string {
	var types []string
	for _, r := range history {
		types = append(types, r.Event.Type())
	}
	return strings.Join(types, ", ")
}

func (f *findings) checkMails() {
	mails := map[string][]mail.Letter{}
	for _, m := range f.box.mails {
		id, _, _ := strings.Cut(m.MessageID, ".")
		mails[id] = append(mails[id], m)
		if !has[events.AccountCreated](f.histories[id]) {
			f.violated("I5: a mail %s was sent without an account", m.MessageID)
		}
	}
	for id, history := range f.histories {
		if !has[events.AccountCreated](history) {
			continue
		}
		code, err := f.ring.ActivationCode(id, 1)
		if len(mails[id]) == 0 && !has[events.Expired](history) && !has[events.ErasureRequested](history) || err != nil {
			f.violated("I5: the account of %s has no mail (%v)", id, err)
		}
		for _, m := range mails[id] {
			if m.Code != code || m.MessageID != mails[id][0].MessageID {
				f.violated("I5: the mails of %s differ", id)
			}
		}
		if n := count[events.AccountActivated](history); n > 1 {
			f.violated("I5: the code of %s was used %d times", id, n)
		}
		if n := count[events.AccountActivated](history) + count[events.Expired](history); n > 1 || n == 0 && !has[events.ErasureRequested](history) {
			f.violated("I1: the account of %s has %d ends: %s", id, n, told(history))
		}
	}
}

// predecessors are the types of which one must stand before an event of a step.
var predecessors = map[events.Step][]string{
	events.StepValidation: {"registration.requested"},
	events.StepRisk:       {"registration.validated"},
	events.StepAccount:    {"registration.categorized"},
	events.StepMail:       {"account.created"},
	events.StepActivation: {"account.created"},
	events.StepActivated:  {"activation.requested"},
	events.StepExpired:    {"account.created"},
}

// checkHistory checks that each event follows from those before it and takes the status
// nowhere it was.
func (f *findings) checkHistory(id string, history []events.Record) {
	var before []string
	var statuses []events.Status
	for i, r := range history {
		if needs := predecessors[r.Subject.Step]; needs != nil && !slices.ContainsFunc(needs, func(n string) bool { return slices.Contains(before, n) }) {
			f.violated("I8: %s of %s stands without its predecessor", r.Event.Type(), id)
		}
		before = append(before, r.Event.Type())
		status := events.Fold(history[:i+1]).Status
		if len(statuses) > 0 && status != statuses[len(statuses)-1] && slices.Contains(statuses, status) {
			f.violated("I6: the status of %s went back to %s", id, status)
		}
		statuses = append(statuses, status)
	}
	var view struct {
		Status events.Status `json:"status"`
	}
	f.document(events.Ledger, "registrations", id, &view)
	if folded := events.Fold(history).Status; view.Status != folded {
		f.violated("I9: the ledger has %s as %q, its history is %q", id, view.Status, folded)
	}
}

// checkErasure checks that who was to be erased is.
func (f *findings) checkErasure(c *client) {
	if !c.erasing {
		return
	}
	f.faults.count("erased")
	if status := events.Fold(f.histories[c.id]).Status; status != events.StatusErased {
		f.violated("I11: %s was to be erased and is %s, not answered by %v", c.name, status, events.Awaits(f.histories[c.id], events.AfterErasure))
	}
	f.checkGone(c)
}

// checkForgetting checks that whom nobody activated is erased like anybody who asked for it.
func (f *findings) checkForgetting(c *client) {
	history := f.histories[c.id]
	if c.erasing || !has[events.Expired](history) {
		return
	}
	if awaits := events.Awaits(history, events.AfterExpiry); len(awaits) > 0 || events.Fold(history).Status != events.StatusExpired {
		f.violated("I11: %s ended and is %s, not answered by %v", c.name, events.Fold(history).Status, awaits)
	}
	f.checkGone(c)
}

// checkGone searches all stores and streams for a person.
func (f *findings) checkGone(c *client) {
	search, err := proof.New(proof.Person{Tenant: cloudVault, ID: c.id, Values: []string{c.email}}, f.ring, func(string, int, string) {})
	if err != nil {
		f.violated("I11: %v", err)
		return
	}
	for name, s := range services {
		if err := search.Store(context.Background(), string(name), f.stores[name].Memory, append([]store.Schema{bus.ParkedSchema}, s.Schemas...)...); err != nil {
			f.violated("I11: %v", err)
		}
	}
	f.broker.mu.Lock()
	for name, s := range f.broker.streams {
		for _, m := range s.messages {
			if m == nil {
				continue
			}
			search.Data("stream "+name, m.data)
			if m.subject == vault.Subject(cloudVault, c.id) {
				f.problems = append(f.problems, "I11: the vault still has an entry of "+c.name)
			}
		}
	}
	f.broker.mu.Unlock()
	for _, left := range search.Findings() {
		f.violated("I11: of %s is left in %s: %s", c.name, left.Place, left.What)
	}
}

// document decodes a stored document, and reports whether it is there.
func (f *findings) document(s events.Service, collection, id string, into any) bool {
	found, err := f.stores[s].Memory.Get(context.Background(), collection, id)
	if err != nil || found[id].ID == "" {
		return false
	}
	return json.Unmarshal(found[id].Body, into) == nil
}

// order of the states of a document; no change leads to an earlier one.
var order = []string{"CREATING", "CREATED", "ACTIVE", "EXPIRED", "REJECTED", "PENDING", "SENT", "FAILED", "WITHDRAWN", "ERASED"}

func (f *findings) checkVersions(service events.Service, d *documents) {
	versions, states := map[string]int64{}, map[string]int{}
	for _, c := range d.changes {
		key := c.collection + "/" + c.document.ID
		if c.kind == store.Delete {
			delete(versions, key)
			continue
		}
		if c.document.Version != versions[key]+1 {
			f.violated("I6: %s %s went from version %d to %d", service, key, versions[key], c.document.Version)
		}
		versions[key] = c.document.Version
		state := slices.Index(order, stateOf(c.document))
		if before, ok := states[key]; ok && state < before {
			f.violated("I6: %s %s went from %s to %s", service, key, order[before], order[max(state, 0)])
		}
		states[key] = state
	}
}

func stateOf(d store.Document) string {
	var state struct {
		State string `json:"state"`
	}
	_ = json.Unmarshal(d.Body, &state)
	return state.State
}

// checkAccounts follows every change: at no moment two accounts have one address.
func (f *findings) checkAccounts() {
	owners, inserted := map[any]string{}, map[string]bool{}
	for _, c := range f.stores[events.Accounts].changes {
		if c.collection != "accounts" {
			continue
		}
		id, email := c.document.ID, c.document.Fields["u_email"]
		if c.kind == store.Insert && inserted[id] {
			f.violated("I2: the account of %s was made twice", id)
		}
		inserted[id] = true
		if email == nil { // never claimed, or released with the account's end
			maps.DeleteFunc(owners, func(_ any, owner string) bool { return owner == id })
			continue
		}
		if owner, owned := owners[email]; owned && owner != id {
			f.violated("I2: %s and %s have accounts of one address", owner, id)
		}
		owners[email] = id
	}
	for id := range inserted {
		if len(f.histories[id]) == 0 {
			f.violated("I4: the account of %s is of no registration", id)
		}
	}
	f.checkAddresses()
}

// checkAddresses checks that of registrations of one address one has the account, unless all
// were rejected for something else.
func (f *findings) checkAddresses() {
	accounts, duplicates, expired := map[string]int{}, map[string]int{}, map[string]int{}
	for _, c := range f.clients {
		email := strings.ToLower(c.email)
		accounts[email] += count[events.AccountCreated](f.histories[c.id])
		expired[email] += count[events.Expired](f.histories[c.id])
		if state := events.Fold(f.histories[c.id]); slices.Contains(state.Codes, events.CodeDuplicateEmail) {
			duplicates[email]++
		}
	}
	for email, n := range accounts {
		if n-expired[email] > 1 || duplicates[email] > 0 && n == 0 {
			f.violated("I2: %s has %d accounts and %d refusals as a duplicate", email, n, duplicates[email])
		}
	}
}

// checkDecisions compares what was told with the documents that were stored before.
func (f *findings) checkDecisions() {
	for id, history := range f.histories {
		if has[events.ErasureRequested](history) {
			continue // its documents are tombstones
		}
		if has[events.Expired](history) {
			f.checkEnd(id) // so are these
			continue
		}
		for _, r := range history {
			switch e := r.Event.(type) {
			case events.Rejected:
				f.checkRejection(id, e)
			case events.Validated:
				var d decision
				if !f.document(events.Validator, "decisions", id, &d) || len(d.Violations) > 0 || d.Config != e.Versions.Config {
					f.violated("I8: %s is told to be valid, its document differs", id)
				}
			case events.Categorized:
				var d assessment
				if !f.document(events.Risk, "assessments", caseOf(id, e.Case), &d) || !reflect.DeepEqual(d.Found, e.Assessment) || d.Category != e.Category {
					f.violated("I8: %s is told another category than its document", id)
				}
			case events.ReviewDecided:
				f.faults.count(fmt.Sprintf("review ended, approved: %v", e.Approved))
			case events.AccountCreated:
				var d struct{ State string }
				if !f.document(events.Accounts, "accounts", id, &d) || d.State != "CREATED" && d.State != "ACTIVE" {
					f.violated("I8: %s is told to have an account, its document is %q", id, d.State)
				}
			case events.AccountActivated:
				f.checkActivation(id, e)
			}
		}
	}
}

// checkEnd checks the account that nobody activated.
func (f *findings) checkEnd(id string) {
	var d struct {
		State  string
		Person []byte
	}
	f.faults.count("account ended")
	if !f.document(events.Accounts, "accounts", id, &d) || d.State != "EXPIRED" || d.Person != nil {
		f.violated("I8: %s is told to have ended, its document is %q", id, d.State)
	}
}

// checkActivation checks that an active account has the password that its customer chose last.
func (f *findings) checkActivation(id string, e events.AccountActivated) {
	var d struct {
		Activation       struct{ By string }
		Password         string
		PasswordRequired bool
	}
	if !f.document(events.Accounts, "accounts", id, &d) || d.Activation.By != e.RequestID || d.PasswordRequired {
		f.violated("I8: %s is told to be activated, its document differs", id)
	}
	password := "seven quiet lanterns"
	if f.broker.damaged[id] {
		f.faults.count("password chosen at the activation")
		password = chosen
	}
	if !verifies(d.Password, password) {
		f.violated("I8: %s is active without its customer's password", id)
	}
}

// verifies checks a password against a PHC string of the simulation's cheap parameters.
func verifies(phc, password string) bool {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	return err == nil && base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte(password), salt, 1, 8, 1, 32)) == parts[5]
}

func (f *findings) checkRejection(id string, e events.Rejected) {
	var d decision
	var there bool
	switch e.At {
	case events.StepValidation:
		there = f.document(events.Validator, "decisions", id, &d)
	case events.StepRisk:
		var a assessment
		if !f.document(events.Risk, "assessments", caseOf(id, e.Case), &a) || !reflect.DeepEqual(&a.Found, e.Assessment) {
			f.violated("I8: %s is told another refusal of risk than its document", id)
		}
		return
	case events.StepAccount:
		there = f.document(events.Accounts, "accounts", id, &d)
		d.Config = d.Versions.Config
	}
	if !there || d.Config != e.Versions.Config || !reflect.DeepEqual(d.Violations, e.Violations) {
		f.violated("I8: %s is told another rejection than its document", id)
	}
}

// caseOf is the id of risk's document of a case version.
func caseOf(id string, version int) string {
	if version == 1 {
		return id
	}
	return fmt.Sprintf("%s/%d", id, version)
}

// decision is what the documents of a validator's decision and of a refused account have in
// common.
type decision struct {
	Config     string             `json:"config"`
	Violations []events.Violation `json:"violations"`
	Versions   events.Versions    `json:"versions"`
}

// assessment is what risk stores.
type assessment struct {
	Found    events.Assessment `json:"found"`
	Category events.Category   `json:"category"`
}
