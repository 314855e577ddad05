package events

import "strconv"

// Requested: the gateway has stored a registration; its person is sealed in the vault.
type Requested struct {
	Carried
	Audit *Audit `json:"audit,omitempty"`
}

// Audit is the name under which the vendor of a dialect logs a request.
type Audit struct {
	Event       string `json:"event"`
	ChannelType string `json:"channelType"`
	UserProduct string `json:"userProduct"`
}

func (Requested) Type() string { return "registration.requested" }
func (Requested) Step() Step   { return StepRequested }
func (Requested) N() string    { return "1" }

// Validated: the content satisfies the rules of the channel and the tenant.
type Validated struct {
	Carried
	Versions Versions `json:"versions"`
	// Disclosures are those of the tenant that the applicant accepted, in their versions.
	Disclosures []Consent `json:"disclosures,omitempty"`
}

func (Validated) Type() string { return "registration.validated" }
func (Validated) Step() Step   { return StepValidation }
func (Validated) N() string    { return "1" }

// Versions are the configuration a decision was made under; a stage names those it used.
type Versions struct {
	Config  string `json:"config"`
	Policy  string `json:"policy,omitempty"`
	Catalog string `json:"catalog,omitempty"`
	Lists   string `json:"lists,omitempty"` // id=version of each, by id, with blanks between
}

// Rejected: a stage turned the registration down. It ends the registration.
type Rejected struct {
	At         Step        `json:"at"`             // validation, risk or account
	Case       int         `json:"case,omitempty"` // risk only: version of the decision, from 1
	Violations []Violation `json:"violations"`
	Versions   Versions    `json:"versions"`
	Vault      uint64      `json:"vault"`
	Assessment *Assessment `json:"assessment,omitempty"` // risk only: why
}

func (Rejected) Type() string { return "registration.rejected" }
func (r Rejected) Step() Step { return r.At }
func (r Rejected) N() string  { return strconv.Itoa(max(r.Case, 1)) }

// Releases names the vault entry that nobody needs after the event; 0 for none.
func (r Rejected) Releases() uint64 { return r.Vault }

// Reason is one part of an assessment: a rule that holds, or what screening says.
type Reason struct {
	Rule    string `json:"rule"`
	Points  int    `json:"points"`
	Outcome string `json:"outcome,omitempty"` // refuse or review, whatever the score
	Label   string `json:"label,omitempty"`
	Failed  bool   `json:"failed,omitempty"` // the rule could not be evaluated, so that a person decides
}

// Hit is an entry of a list that the person may be. It says nothing of the person.
type Hit struct {
	List  string `json:"list"`
	Entry string `json:"entry"` // the publisher's id
	Score int    `json:"score"` // of 1000
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
	Case    int      `json:"case"` // from 1
	Score   int      `json:"score"`
	Level   string   `json:"level"` // LOW, MEDIUM, HIGH
	Reasons []Reason `json:"reasons"`
	// Facts are the values, as text, of the facts that the policy's rules name: those that tell nobody.
	Facts    map[string]string `json:"facts,omitempty"`
	Hits     []Hit             `json:"hits,omitempty"`     // the highest score first
	MoreHits int               `json:"moreHits,omitempty"` // further ones
	PEP      bool              `json:"pep,omitempty"`      // a hit is of a list of politically exposed persons
	// PossibleDuplicateOf are registrations of the tenant that may be of the same person, at most 10,
	// the earliest first. Nothing follows from it but what the policy's rules say.
	PossibleDuplicateOf []string `json:"possibleDuplicateOf,omitempty"`
	Versions            Versions `json:"versions"`
	By                  string   `json:"by"` // "policy" or the actor's subject
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
	// MaxReviewSeconds is how long after this event a person may decide; then the policy does.
	MaxReviewSeconds int64 `json:"maxReviewSeconds,omitempty"`
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

// Expired: never activated within the tenant's time. The person is erased everywhere: every service
// answers Erased, after which the registration still is EXPIRED.
type Expired struct {
	Reason string `json:"reason"`
	Vault  uint64 `json:"vault,omitempty"` // the entry that the account was made of
}

// NotActivated is the reason of Expired.
const NotActivated = "NOT_ACTIVATED"

func (Expired) Type() string { return "registration.expired" }
func (Expired) Step() Step   { return StepExpired }
func (Expired) N() string    { return "1" }

// ErasureRequested: the person is to be erased everywhere. Every service answers Erased.
type ErasureRequested struct {
	Actor string `json:"actor"`
}

func (ErasureRequested) Type() string { return "registration.erasure_requested" }
func (ErasureRequested) Step() Step   { return StepErasure }
func (ErasureRequested) N() string    { return "1" }

// Erased: one service holds nothing of the person any more.
type Erased struct {
	Service Service `json:"service"`
	K       string  `json:"k"` // "0", "expired", or the vault sequence of a message that came after the erasure
}

// The K of an answer to ErasureRequested, and to Expired.
const (
	AfterErasure = "0"
	AfterExpiry  = "expired"
)

// ErasedBy is the answer of a service to an erasure.
func ErasedBy(s Service) Erased { return Erased{s, AfterErasure} }

// ForgottenBy is the answer of a service to the end of a registration that nobody activated.
func ForgottenBy(s Service) Erased { return Erased{s, AfterExpiry} }

// StillErased is the answer of a service to a message, with that entry of the vault, of a
// registration that it has erased.
func StillErased(s Service, vault uint64) Erased {
	return Erased{s, strconv.FormatUint(max(vault, 1), 10)}
}

// Answers reports whether e answers an erasure or an expiry, rather than a message that came after it.
func (e Erased) Answers() bool { return e.K == AfterErasure || e.K == AfterExpiry }

func (Erased) Type() string { return "registration.erased" }
func (Erased) Step() Step   { return StepErased }
func (e Erased) N() string  { return string(e.Service) + "-" + e.K }
