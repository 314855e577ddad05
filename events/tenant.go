package events

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
)

// Kinds of facts about a tenant rather than a registration. They stand in the place of a step:
// tenant.<tenant>.<kind>.<n>, in stream TENANTS.
const (
	FactList      Step = "list"
	FactScreening Step = "screening"
	FactCase      Step = "case"
	FactAccess    Step = "access" // the log of who was shown what
	FactAudit     Step = "audit"  // what operators ordered
	// FactCheckpoint are the signatures of the tenant's feed.
	FactCheckpoint Step = "checkpoint"
)

// TenantFacts is to facts about a tenant what Flow is to registrations.
var TenantFacts = []Row{
	{FactList, []Event{ListActivated{}}, []Service{Risk}, nil},
	{FactScreening, []Event{CustomersScreening{}, CustomersScreened{}}, []Service{Risk}, nil},
	{FactAccess, []Event{PersonAccessed{}, RecordAccessed{}}, []Service{Ledger}, nil},
	{FactAudit, []Event{ResendOrdered{}, WebhookChanged{}}, []Service{Ledger}, nil},
	{FactCheckpoint, []Event{Checkpoint{}}, []Service{Ledger}, nil},
	{FactCase, []Event{CaseOpened{}, CaseDecided{}, CaseClosed{}}, []Service{Risk, Ledger}, []Reaction{{Risk, 16}}},
}

// ListActivated: risk screens a tenant's applicants against this version of a list from now on.
// It is told once for each version.
type ListActivated struct {
	List    string `json:"list"`
	Version string `json:"version"` // as in Versions.Lists
	Entries int    `json:"entries"`
}

func (ListActivated) Type() string { return "list.activated" }
func (ListActivated) Step() Step   { return FactList }
func (e ListActivated) N() string {
	return token(e.List + "-" + e.Version[strings.LastIndexByte(e.Version, '/')+1:])
}

// token replaces what cannot stand in a subject, and keeps the end of what is too long: there a
// version tells itself apart.
func token(s string) string {
	t := []byte(s)
	for i := range t {
		if !ValidToken(string(t[i : i+1])) {
			t[i] = '_'
		}
	}
	return string(t[max(0, len(t)-64):])
}

// CustomersScreening: so many customers of a tenant have been screened again. It is told at the
// beginning of a run that takes more than a moment, and after each tenth.
type CustomersScreening struct {
	Run       int    `json:"run"` // of the tenant, from 1
	Lists     string `json:"lists"`
	Tenths    int    `json:"tenths"`
	Looked    int64  `json:"looked"`    // at so many
	Customers int64  `json:"customers"` // when the run began
	Opened    int64  `json:"opened"`    // cases of hits that nobody knew
}

func (CustomersScreening) Type() string { return "customers.screening" }
func (CustomersScreening) Step() Step   { return FactScreening }
func (e CustomersScreening) N() string  { return fmt.Sprintf("%d-%d", e.Run, e.Tenths) }

// CustomersScreened: all customers of a tenant have been screened again, under these versions, but
// for those that were skipped because what is kept of them does not open.
type CustomersScreened struct {
	Run      int    `json:"run"` // of the tenant, from 1
	Lists    string `json:"lists"`
	Screened int64  `json:"screened"`
	Opened   int64  `json:"opened"` // cases of hits that nobody knew
	Skipped  int64  `json:"skipped,omitempty"`
}

func (CustomersScreened) Type() string { return "customers.screened" }
func (CustomersScreened) Step() Step   { return FactScreening }
func (e CustomersScreened) N() string  { return strconv.Itoa(e.Run) }

// PersonAccessed: somebody asked to see a person, who is shown only after this is stored.
type PersonAccessed struct {
	ID           string `json:"id"` // of the access, at random
	Actor        string `json:"actor"`
	Purpose      string `json:"purpose"` // review or case
	Registration string `json:"registration"`
	Case         int    `json:"case,omitempty"` // of a review
}

func (PersonAccessed) Type() string { return "person.accessed" }
func (PersonAccessed) Step() Step   { return FactAccess }
func (e PersonAccessed) N() string  { return e.ID }

// ResendOrdered: an operator has ordered another mail of a registration; activation.resend_requested
// follows.
type ResendOrdered struct {
	Actor        string `json:"actor"` // subject of the token
	Registration string `json:"registration"`
	K            int    `json:"k"` // of the resend
	Bulk         bool   `json:"bulk,omitempty"`
}

func (ResendOrdered) Type() string { return "operator.resend_ordered" }
func (ResendOrdered) Step() Step   { return FactAudit }

// N holds a digest of the actor: what two of them order is two facts.
func (e ResendOrdered) N() string {
	sum := sha256.Sum256([]byte(e.Actor))
	return fmt.Sprintf("resend-%s-%d-%x", e.Registration, e.K, sum[:4])
}

// WebhookChanged: somebody has ordered a change of a webhook or, as the actor policy, the ledger has:
// it disables what cannot be delivered to. It is told before it takes effect.
type WebhookChanged struct {
	ID      string `json:"id"` // of the order, at random
	Actor   string `json:"actor"`
	Webhook string `json:"webhook"`
	// Change is created, updated, enabled, paused, disabled, deleted, secret_added, replayed_one or
	// replayed_since.
	Change string `json:"change"`
}

func (WebhookChanged) Type() string { return "operator.webhook_changed" }
func (WebhookChanged) Step() Step   { return FactAudit }
func (e WebhookChanged) N() string  { return "webhook-" + e.ID }

// CaseOpened: an existing customer may be an entry of a list, which nobody knew before. The case
// never changes the registration's status. Its id derives from the registration and the content of
// the entry, so that what was cleared stays so until the entry changes. Where nobody decides in
// time it is opened again with a later version.
type CaseOpened struct {
	Case         string `json:"case"`
	Version      int    `json:"version"`     // from 1
	NextVersion  int    `json:"nextVersion"` // of its decision, or of its next opening
	Registration string `json:"registration"`
	Hit          Hit    `json:"hit"`
	Lists        string `json:"lists"` // versions screened under
	// Vault is the sequence of the sealed person, put there again for the review under the name
	// that package vault gives to cases.
	Vault uint64 `json:"vault"`
}

func (CaseOpened) Type() string { return "case.opened" }
func (CaseOpened) Step() Step   { return FactCase }
func (e CaseOpened) N() string  { return caseN(e.Case, e.Version) }

// CaseDecided: the one decision of a case. A person who is not the listed one is cleared.
type CaseDecided struct {
	Case    string `json:"case"`
	Version int    `json:"version"` // NextVersion of the opening
	Cleared bool   `json:"cleared"`
	Actor   string `json:"actor"`  // a token's subject
	Reason  string `json:"reason"` // one of CaseReasons
}

func (CaseDecided) Type() string { return "case.decided" }
func (CaseDecided) Step() Step   { return FactCase }
func (e CaseDecided) N() string  { return caseN(e.Case, e.Version) }

// CaseClosed: the decision has taken effect, and the vault has let go of the person.
type CaseClosed struct {
	Case         string `json:"case"`
	Version      int    `json:"version"`
	Registration string `json:"registration"`
	Cleared      bool   `json:"cleared"`
}

func (CaseClosed) Type() string { return "case.closed" }
func (CaseClosed) Step() Step   { return FactCase }
func (e CaseClosed) N() string  { return caseN(e.Case, e.Version) }

func caseN(id string, version int) string { return id + "-" + strconv.Itoa(version) }
