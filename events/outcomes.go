package events

import "strconv"

// Requested: the gateway has stored a registration; its person is sealed in the vault.
type Requested struct {
	Carried
}

func (Requested) Type() string { return "registration.requested" }
func (Requested) Step() Step   { return StepRequested }
func (Requested) N() string    { return "1" }

// Validated: the content satisfies the rules of the channel and the tenant.
type Validated struct {
	Carried
	Versions Versions `json:"versions"`
}

func (Validated) Type() string { return "registration.validated" }
func (Validated) Step() Step   { return StepValidation }
func (Validated) N() string    { return "1" }

// Versions are the configuration a decision was made under; a stage names those it used.
type Versions struct {
	Config  string `json:"config"`
	Policy  string `json:"policy,omitempty"`
	Catalog string `json:"catalog,omitempty"`
	Lists   string `json:"lists,omitempty"`
}

// Rejected: a stage turned the registration down. It ends the registration.
type Rejected struct {
	At         Step        `json:"at"`             // validation, risk or account
	Case       int         `json:"case,omitempty"` // risk only: version of the decision, from 1
	Violations []Violation `json:"violations"`
	Versions   Versions    `json:"versions"`
	Vault      uint64      `json:"vault"`
}

func (Rejected) Type() string { return "registration.rejected" }
func (r Rejected) Step() Step { return r.At }
func (r Rejected) N() string  { return strconv.Itoa(max(r.Case, 1)) }

// Reason is one part of a risk score.
type Reason struct {
	Rule   string `json:"rule"`
	Points int    `json:"points"`
	Label  string `json:"label,omitempty"`
}

// Parameter is one value of a category's feature.
type Parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Feature is a feature of the assigned category with its parameters.
type Feature struct {
	ID         string      `json:"id"`
	Code       string      `json:"code"`
	Enabled    bool        `json:"enabled"`
	Parameters []Parameter `json:"parameters"`
}

// Category is a category of the tenant's catalog.
type Category struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// Assessment is what risk found. It is immutable; a later one has a higher case version.
type Assessment struct {
	Case     int      `json:"case"` // from 1
	Score    int      `json:"score"`
	Level    string   `json:"level"` // LOW, MEDIUM, HIGH
	Reasons  []Reason `json:"reasons"`
	Versions Versions `json:"versions"`
	By       string   `json:"by"` // "policy" or the actor's subject
}

// Categorized: risk has assigned a category.
type Categorized struct {
	Carried
	Assessment
	Claimed  string    `json:"claimedCategory,omitempty"`
	Category Category  `json:"category"`
	Features []Feature `json:"features"`
}

func (Categorized) Type() string { return "registration.categorized" }
func (Categorized) Step() Step   { return StepRisk }
func (e Categorized) N() string  { return strconv.Itoa(max(e.Case, 1)) }

// ReviewRequired: a person has to decide; the decision is published as review.<NextCase>.
type ReviewRequired struct {
	Carried
	Assessment
	NextCase   int    `json:"nextCase"`
	FirstActor string `json:"firstActor,omitempty"` // four eyes: who may not decide the next case
}

func (ReviewRequired) Type() string { return "registration.review_required" }
func (ReviewRequired) Step() Step   { return StepRisk }
func (e ReviewRequired) N() string  { return strconv.Itoa(max(e.Case, 1)) }

// ScreeningWait: the lists are missing or stale; risk resumes by itself.
type ScreeningWait struct {
	Carried
	Case     int      `json:"case"`
	NextCase int      `json:"nextCase"`
	Versions Versions `json:"versions"`
}

func (ScreeningWait) Type() string { return "registration.screening_wait" }
func (ScreeningWait) Step() Step   { return StepRisk }
func (e ScreeningWait) N() string  { return strconv.Itoa(max(e.Case, 1)) }

// ReviewDecided: the one decision of a case.
type ReviewDecided struct {
	Case     int    `json:"case"`
	Approved bool   `json:"approved"`
	Actor    string `json:"actor"`
	Reason   string `json:"reason"`
}

func (ReviewDecided) Type() string { return "registration.review_decided" }
func (ReviewDecided) Step() Step   { return StepReview }
func (e ReviewDecided) N() string  { return strconv.Itoa(e.Case) }

// AccountCreated: the account exists, not yet activated. It carries the code's first epoch.
type AccountCreated struct {
	Carried
	Epoch            int      `json:"epoch"`
	ValiditySeconds  int      `json:"validitySeconds"` // of the code, from the stream time of activation.sent
	PasswordRequired bool     `json:"passwordRequired"`
	Category         Category `json:"category"`
}

func (AccountCreated) Type() string { return "account.created" }
func (AccountCreated) Step() Step   { return StepAccount }
func (AccountCreated) N() string    { return "1" }

// Failed: a stage gave up on a message and put it to the dead letters. Replay may undo it.
type Failed struct {
	Service Service `json:"service"`
	Stage   Step    `json:"stage"` // the step of the message that could not be handled
	Code    string  `json:"code"`
	Replay  int     `json:"replay"` // replays of that stage so far
}

func (Failed) Type() string { return "registration.failed" }
func (Failed) Step() Step   { return StepFailed }
func (e Failed) N() string  { return string(e.Service) + "-" + strconv.Itoa(e.Replay) }

// Expired: never activated within the tenant's time.
type Expired struct {
	Reason string `json:"reason"`
}

func (Expired) Type() string { return "registration.expired" }
func (Expired) Step() Step   { return StepExpired }
func (Expired) N() string    { return "1" }

// ErasureRequested: the person is to be erased everywhere.
type ErasureRequested struct {
	Actor string `json:"actor"`
}

func (ErasureRequested) Type() string { return "registration.erasure_requested" }
func (ErasureRequested) Step() Step   { return StepErasure }
func (ErasureRequested) N() string    { return "1" }

// Erased: one service holds nothing of the person any more.
type Erased struct {
	Service Service `json:"service"`
	K       string  `json:"k"` // "0", or the vault sequence of a late message
}

func (Erased) Type() string { return "registration.erased" }
func (Erased) Step() Step   { return StepErased }
func (e Erased) N() string  { return string(e.Service) + "-" + e.K }
