package events

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// history stores events in the given order, a second apart.
func history(list ...Event) []Record {
	records := make([]Record, len(list))
	for i, e := range list {
		records[i] = record(e)
		records[i].Sequence, records[i].Stored = uint64(i+1), made.Add(time.Duration(i)*time.Second)
	}
	return records
}

var (
	requested = Requested{Carried: carried}
	validated = Validated{Carried: carried}
	risked    = Categorized{Carried: carried, Assessment: assessment, Category: Category{ID: "LOW"}}
	account   = AccountCreated{Carried: carried}
	mailed    = ActivationSent{Cause: "created"}
	refused   = Rejected{At: StepAccount, Violations: []Violation{{Code: CodeDuplicateEmail}, {Code: CodeDuplicateEmail}}}
)

func TestFold(t *testing.T) {
	erased := []Event{requested, refused}
	expired := []Event{requested, account, mailed, Expired{}}
	for _, s := range Services {
		erased, expired = append(erased, ErasedBy(s)), append(expired, ForgottenBy(s))
	}
	for name, test := range map[string]struct {
		events  []Event
		status  Status
		outcome Outcome
	}{
		"nothing is known": {nil, "", ""},
		"received":         {[]Event{requested}, StatusReceived, ""},
		"validated":        {[]Event{requested, validated}, StatusValidated, ""},
		"categorized":      {[]Event{requested, validated, risked}, StatusCategorized, ""},
		"in review":        {[]Event{requested, validated, ReviewRequired{Carried: carried}}, StatusInReview, ""},
		"a review's decision does not change the status": {[]Event{requested, validated, ReviewRequired{}, ReviewDecided{Case: 2}}, StatusInReview, ""},
		"waiting for the lists":                          {[]Event{requested, validated, ScreeningWait{}}, StatusScreeningWait, ""},
		"created":                                        {[]Event{requested, validated, risked, account}, StatusAccountCreated, ""},
		"mailed":                                         {[]Event{requested, validated, risked, account, mailed}, StatusActivationSent, ""},
		"a wrong code does not change the status":        {[]Event{requested, account, mailed, ActivationRequested{RequestID: "r"}, ActivationRefused{RequestID: "r", Code: WrongCode}}, StatusActivationSent, ""},
		"a resend does not change the status":            {[]Event{requested, account, mailed, ResendRequested{K: 1}, ResendRefused{1, ResendCooldown, 1}}, StatusActivationSent, ""},
		"a notice is no stage":                           {[]Event{requested, account, ActivationFailed{Code: "SMTP_550"}, NoticeDue{"20260131", 9}, ActivationSent{Cause: "notice20260131"}}, StatusActivationFailed, ""},
		"mail failed":                                    {[]Event{requested, account, ActivationFailed{Code: "SMTP_550"}}, StatusActivationFailed, ""},
		"activated":                                      {[]Event{requested, account, mailed, AccountActivated{RequestID: "r"}}, StatusActivated, OutcomeActivated},
		"a late mail does not undo an activation":        {[]Event{requested, account, AccountActivated{RequestID: "r"}, mailed}, StatusActivated, OutcomeActivated},
		"rejected":                                       {[]Event{requested, refused}, StatusRejected, OutcomeRejected},
		"failed":                                         {[]Event{requested, Failed{Service: Risk, Code: "PANIC"}}, StatusFailed, ""},
		"a failure yields to a later step":               {[]Event{requested, Failed{Service: Risk}, validated}, StatusValidated, ""},
		"a failure does not undo a rejection":            {[]Event{requested, refused, Failed{Service: Gateway}}, StatusRejected, OutcomeRejected},
		"expired":                                        {[]Event{requested, account, mailed, Expired{}}, StatusExpired, OutcomeExpired},
		"expired, and the person is erased everywhere":   {expired, StatusExpired, OutcomeExpired},
		"expired, and a late message met the tombstone":  {append(slices.Clone(expired), StillErased(Risk, 7)), StatusExpired, OutcomeExpired},
		"expired, and its erasure is asked for":          {append(slices.Clone(expired), ErasureRequested{}), StatusExpired, OutcomeExpired},
		"expired, then erased because somebody asked":    {append(slices.Clone(expired), erased[2:]...), StatusErased, OutcomeErased},
		"erasing is not erased":                          {[]Event{requested, refused, Erased{Gateway, "0"}}, StatusRejected, OutcomeRejected},
		"erased when every service has answered":         {erased, StatusErased, OutcomeErased},
		"a stage that meets its tombstone answers for itself alone":             {[]Event{requested, ErasureRequested{}, ErasedBy(Risk), StillErased(Risk, 7)}, StatusReceived, ""},
		"one that comes again after the stream forgot its erasure stays erased": {[]Event{requested, StillErased(Validator, 9)}, StatusErased, OutcomeErased},
	} {
		t.Run(name, func(t *testing.T) {
			h := history(test.events...)
			want := Fold(h)
			if want.Status != test.status || want.Outcome != test.outcome {
				t.Fatalf("got %s %q", want.Status, want.Outcome)
			}
			for range 20 {
				rand.Shuffle(len(h), func(i, j int) { h[i], h[j] = h[j], h[i] })
				if got := Fold(append(h, h...)); !reflect.DeepEqual(got, want) {
					t.Fatalf("another order gave %+v, want %+v", got, want)
				}
			}
		})
	}
}

func TestAPasswordIsRequiredUntilTheRegistrationEnds(t *testing.T) {
	open := AccountCreated{Carried: carried, PasswordRequired: true}
	for name, test := range map[string]struct {
		events []Event
		want   bool
	}{
		"none was opened":        {[]Event{requested, open, mailed}, true},
		"one was opened":         {[]Event{requested, account, mailed}, false},
		"one came with the code": {[]Event{requested, open, mailed, AccountActivated{RequestID: "r"}}, false},
		"the account has ended":  {[]Event{requested, open, mailed, Expired{}}, false},
	} {
		if got := Fold(history(test.events...)).PasswordRequired; got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestFoldTellsWhatHappenedAndWhen(t *testing.T) {
	s := Fold(history(requested, validated, risked, refused))
	if s.Carried != carried || s.Category.ID != "LOW" || s.Assessment.Score != 40 || s.Trace != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("got %+v", s)
	}
	if want := []string{CodeDuplicateEmail}; !reflect.DeepEqual(s.Codes, want) {
		t.Errorf("codes %v, want %v", s.Codes, want)
	}
	if len(s.Stages) != 4 || s.Stages[3].Since != 3*time.Second || s.Stages[3].Type != "registration.rejected" {
		t.Errorf("stages %+v", s.Stages)
	}
}
