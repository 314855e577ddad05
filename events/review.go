package events

import "slices"

// ByPolicy is who decides where no person does. Nobody's token has this subject.
const ByPolicy = "policy"

// Reasons of a person's decision in a review. An event has one of these and no words: what there
// is to say of a person stands in the notes of the case.
const (
	ReasonFalsePositive = "FALSE_POSITIVE" // the hits are other persons; risk remembers it
	ReasonVerified      = "VERIFIED"       // the doubts were cleared up otherwise
	ReasonRiskAccepted  = "RISK_ACCEPTED"

	ReasonTrueMatch       = "TRUE_MATCH" // a hit is this person
	ReasonNotVerified     = "NOT_VERIFIED"
	ReasonRiskNotAccepted = "RISK_NOT_ACCEPTED"
)

// ReviewReasons are those that an approval or a rejection can have.
func ReviewReasons(approved bool) []string {
	if approved {
		return []string{ReasonFalsePositive, ReasonVerified, ReasonRiskAccepted}
	}
	return []string{ReasonTrueMatch, ReasonNotVerified, ReasonRiskNotAccepted}
}

// CaseReasons are those that clearing or confirming a tenant-level case can have.
func CaseReasons(cleared bool) []string {
	if cleared {
		return []string{ReasonFalsePositive}
	}
	return []string{ReasonTrueMatch}
}

// ClearsHits reports whether the decision says that the case's hits are not this person.
func (e ReviewDecided) ClearsHits() bool { return e.Approved && e.Reason == ReasonFalsePositive }

// ByPerson reports whether a person decided, for one of the reasons that a person can have.
func (e ReviewDecided) ByPerson() bool {
	return e.Actor != ByPolicy && slices.Contains(ReviewReasons(e.Approved), e.Reason)
}
