package ledger

import (
	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

var caseSchema = store.Schema{
	Collection: "cases",
	Index:      [][]string{{"tenant", "openedAt"}, {"tenant", "state", "openedAt"}, {"registration"}},
}

// CaseState is how it stands with a tenant-level case.
type CaseState string

// States of a tenant-level case. All but the first are final.
const (
	CaseOpen      CaseState = "OPEN"
	CaseCleared   CaseState = "CLEARED"
	CaseConfirmed CaseState = "CONFIRMED"
	CaseWithdrawn CaseState = "WITHDRAWN" // undecided, of who is no customer any more
)

// CaseStates lists them all.
var CaseStates = []CaseState{CaseOpen, CaseCleared, CaseConfirmed, CaseWithdrawn}

// tenantCase is a tenant-level case as its events tell in whatever order they came, under
// <tenant>/<case>.
type tenantCase struct {
	Tenant   string    `json:"tenant"`
	State    CaseState `json:"state"`
	OpenedAt int64     `json:"openedAt"` // first, Unix milliseconds, the stream's clock
	// Opened is the newest opening: whoever decides does so as its NextVersion.
	Opened  events.CaseOpened `json:"opened"`
	Decided *caseDecided      `json:"decided,omitempty"`
	Closed  bool              `json:"closed,omitempty"`
	Erased  bool              `json:"erased,omitempty"` // its registration
}

type caseDecided struct {
	At int64 `json:"at"` // as openedAt
	events.CaseDecided
}

func (c tenantCase) fields() store.Fields {
	return store.Fields{"tenant": c.Tenant, "state": string(c.State), "openedAt": c.OpenedAt, "registration": c.Opened.Registration}
}

// settle derives the state. Of an erased registration it leaves that there was a case.
func (c *tenantCase) settle() {
	if c.Erased {
		c.Opened = events.CaseOpened{Case: c.Opened.Case, Registration: c.Opened.Registration}
		c.Decided = nil
	}
	switch {
	case c.Decided != nil && c.Decided.Cleared:
		c.State = CaseCleared
	case c.Decided != nil:
		c.State = CaseConfirmed
	case c.Closed || c.Erased:
		c.State = CaseWithdrawn
	default:
		c.State = CaseOpen
	}
}
