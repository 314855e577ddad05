// Package events is Usher's contract: what happens to a registration, as types, and who
// tells whom, as one table. It has no third-party requirements, so that any subscriber can
// import it.
package events

import "slices"

// Step is a position in a registration's history. All outcomes of one stage share its step;
// the type tells them apart.
type Step string

const (
	StepRequested  Step = "requested"
	StepValidation Step = "validation"
	StepRisk       Step = "risk"
	StepReview     Step = "review"
	StepAccount    Step = "account"
	StepMail       Step = "mail"
	StepActivation Step = "activation"
	StepActivated  Step = "activated"
	StepResend     Step = "resend"
	StepCode       Step = "code"
	StepNotice     Step = "notice"
	StepFailed     Step = "failed"
	StepExpired    Step = "expired"
	StepErasure    Step = "erasure"
	StepErased     Step = "erased"
)

// Service is the name of a service as it appears in ce-source, in consumer names and in metrics.
type Service string

const (
	Gateway   Service = "gateway"
	Validator Service = "validator"
	Risk      Service = "risk"
	Accounts  Service = "accounts"
	Notifier  Service = "notifier"
	Ledger    Service = "ledger"
)

// Services lists every service of the pipeline in the order a registration meets them.
var Services = []Service{Gateway, Validator, Risk, Accounts, Notifier, Ledger}

// Row is one line of the pipeline: the events that may stand at Step, who publishes them and
// who reacts. Ledger reads every step and is therefore not repeated in To.
type Row struct {
	Step  Step
	Types []Event
	From  []Service
	To    []Reaction
}

// Reaction is a durable consumer of a step. InFlight bounds the messages a service works on
// at once, over all its replicas.
type Reaction struct {
	Service  Service
	InFlight int
}

// Flow is the pipeline. Consumers, permissions, AsyncAPI and documentation derive from it.
var Flow = []Row{
	{StepRequested, []Event{Requested{}}, []Service{Gateway}, []Reaction{{Validator, 256}}},
	{StepValidation, []Event{Validated{}, Rejected{}}, []Service{Validator}, []Reaction{{Risk, 256}}},
	{StepRisk, []Event{Categorized{}, ReviewRequired{}, ScreeningWait{}, Rejected{}}, []Service{Risk}, []Reaction{{Accounts, 256}}},
	{StepReview, []Event{ReviewDecided{}}, []Service{Ledger, Risk}, []Reaction{{Risk, 64}}},
	{StepAccount, []Event{AccountCreated{}, Rejected{}}, []Service{Accounts}, []Reaction{{Notifier, 256}, {Risk, 256}}},
	{StepMail, []Event{ActivationSent{}, ActivationFailed{}}, []Service{Notifier}, nil},
	{StepActivation, []Event{ActivationRequested{}}, []Service{Gateway}, []Reaction{{Accounts, 64}}},
	{StepActivated, []Event{AccountActivated{}, ActivationRefused{}}, []Service{Accounts}, []Reaction{{Notifier, 64}}},
	{StepResend, []Event{ResendRequested{}}, []Service{Gateway, Ledger}, []Reaction{{Accounts, 64}}},
	{StepCode, []Event{CodeIssued{}, ResendRefused{}, ReminderDue{}}, []Service{Accounts}, []Reaction{{Notifier, 64}}},
	{StepNotice, []Event{NoticeDue{}}, []Service{Accounts}, []Reaction{{Notifier, 64}}},
	{StepFailed, []Event{Failed{}}, Services, nil},
	{StepExpired, []Event{Expired{}}, []Service{Accounts},
		[]Reaction{{Gateway, 64}, {Validator, 64}, {Risk, 64}, {Accounts, 64}, {Notifier, 64}}},
	{StepErasure, []Event{ErasureRequested{}}, []Service{Gateway, Ledger},
		[]Reaction{{Gateway, 64}, {Validator, 64}, {Risk, 64}, {Accounts, 64}, {Notifier, 64}}},
	{StepErased, []Event{Erased{}}, Services, []Reaction{{Gateway, 64}}},
}

// RowOf returns the row of a step or of a kind of tenant's facts; ok is false for an unknown one.
func RowOf(step Step) (row Row, ok bool) {
	for _, table := range [][]Row{Flow, TenantFacts} {
		if i := slices.IndexFunc(table, func(r Row) bool { return r.Step == step }); i >= 0 {
			return table[i], true
		}
	}
	return Row{}, false
}
