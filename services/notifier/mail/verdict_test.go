package mail

import (
	"errors"
	"testing"
)

func TestOnlyWhatIsSaidOfTheAddressIsFinal(t *testing.T) {
	for _, c := range []struct {
		is    string
		r     refusal
		final bool
	}{
		{"no such mailbox, without an enhanced code", refusal{rcptTo, 550, ""}, true},
		{"a name that is not allowed", refusal{rcptTo, 553, ""}, true},
		{"a domain that takes no mail", refusal{rcptTo, 556, "5.1.10"}, true},
		{"no such mailbox", refusal{rcptTo, 550, "5.1.1"}, true},
		{"a mailbox that is disabled", refusal{rcptTo, 550, "5.2.1"}, true},
		{"no such mailbox, said after the text", refusal{endOfData, 550, "5.1.1"}, true},
		{"relaying denied", refusal{rcptTo, 550, "5.7.1"}, false},
		{"authentication required", refusal{mailFrom, 530, "5.7.0"}, false},
		{"authentication required, only said of the recipient", refusal{rcptTo, 530, ""}, false},
		{"wrong credentials", refusal{connecting, 535, "5.7.8"}, false},
		{"encryption required", refusal{connecting, 538, ""}, false},
		{"a greeting that refuses", refusal{connecting, 554, ""}, false},
		{"a sender that is not allowed", refusal{mailFrom, 550, "5.1.8"}, false},
		{"a sender that is not allowed, said of the recipient", refusal{rcptTo, 550, "5.1.8"}, false},
		{"a mailbox that is full", refusal{rcptTo, 552, "5.2.2"}, false},
		{"a mail that is too large", refusal{endOfData, 552, "5.3.4"}, false},
		{"a text that is not liked", refusal{endOfData, 554, ""}, false},
		{"a server that goes", refusal{rcptTo, 421, ""}, false},
		{"greylisting", refusal{rcptTo, 450, "4.7.1"}, false},
		{"no answer", refusal{endOfData, 0, ""}, false},
	} {
		err := c.r.error()
		var permanent *PermanentError
		if got := errors.As(err, &permanent); got != c.final || got == errors.Is(err, ErrTemporary) {
			t.Errorf("%s: %v", c.is, err)
		}
	}
}
