package app

import (
	"time"

	"github.com/usherhq/usher/events"
)

// RegistrationView is a registration as clients see it, at the gateway and at the ledger. It
// holds no personal data.
type RegistrationView struct {
	ID       string           `json:"id"`
	Tenant   string           `json:"tenant"`
	Channel  string           `json:"channel"`
	Status   events.Status    `json:"status"`
	Outcome  events.Outcome   `json:"outcome,omitempty"`
	Codes    []string         `json:"codes,omitempty"`
	Category *events.Category `json:"category,omitempty"`
	Stages   []StageView      `json:"stages"`
	// PasswordRequired says that a password has to come with the code.
	PasswordRequired bool   `json:"passwordRequired,omitempty"`
	TraceID          string `json:"traceId,omitempty"`
	// Risk is for compliance alone: it would tip off a person under suspicion.
	Risk *events.Assessment `json:"risk,omitempty"`
}

// StageView is one event: when, and how long after the receipt.
type StageView struct {
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	MS    int64     `json:"ms"`
}

// View renders a state; withRisk adds what only compliance may see.
func View(tenant, registration string, s events.State, withRisk bool) RegistrationView {
	v := RegistrationView{
		ID: registration, Tenant: tenant, Channel: s.Carried.Channel, Status: s.Status, Outcome: s.Outcome, Codes: s.Codes,
		Category: s.Category, PasswordRequired: s.PasswordRequired, TraceID: s.Trace, Stages: make([]StageView, 0, len(s.Stages)),
	}
	for _, stage := range s.Stages {
		v.Stages = append(v.Stages, StageView{stage.Type, stage.At.UTC(), stage.Since.Milliseconds()})
	}
	if withRisk {
		v.Risk = s.Assessment
	}
	return v
}
