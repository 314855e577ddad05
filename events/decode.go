package events

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// codec is a type of event: how its data are decoded, and an event of it without any.
type codec struct {
	decode func([]byte) (Event, error)
	blank  Event
}

// codecs maps every wire name to its type.
var codecs = func() map[string]codec {
	m := map[string]codec{}
	register[Requested](m)
	register[Validated](m)
	register[Rejected](m)
	register[Categorized](m)
	register[ReviewRequired](m)
	register[ScreeningWait](m)
	register[ReviewDecided](m)
	register[AccountCreated](m)
	register[ActivationSent](m)
	register[ActivationFailed](m)
	register[ActivationRequested](m)
	register[AccountActivated](m)
	register[ActivationRefused](m)
	register[ResendRequested](m)
	register[CodeIssued](m)
	register[ResendRefused](m)
	register[ReminderDue](m)
	register[NoticeDue](m)
	register[Failed](m)
	register[Expired](m)
	register[ErasureRequested](m)
	register[Erased](m)
	register[ListActivated](m)
	register[PersonAccessed](m)
	register[RecordAccessed](m)
	register[ResendOrdered](m)
	register[WebhookChanged](m)
	register[Checkpoint](m)
	register[CustomersScreening](m)
	register[CustomersScreened](m)
	register[CaseOpened](m)
	register[CaseDecided](m)
	register[CaseClosed](m)
	return m
}()

func register[E Event](m map[string]codec) {
	var zero E
	m[zero.Type()] = codec{blank: zero, decode: func(data []byte) (Event, error) {
		var e E
		if err := json.Unmarshal(data, &e); err != nil {
			return nil, err
		}
		return e, nil
	}}
}

// Blank returns an event of a type without its data; ok is false where this version cannot
// decode the type.
func Blank(eventType string) (e Event, ok bool) {
	c, ok := codecs[eventType]
	return c.blank, ok
}

// DecodeData decodes the data of an event of a type. Its error wraps ErrGarbage or ErrNewer.
func DecodeData(eventType string, data []byte) (Event, error) {
	c, known := codecs[eventType]
	if !known {
		return nil, fmt.Errorf("%w: unknown event type", ErrNewer)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%w: data is not UTF-8", ErrGarbage)
	}
	e, err := c.decode(data)
	if err != nil {
		// The cause is left out: encoding/json quotes the data.
		return nil, fmt.Errorf("%w: data is not a JSON %s", ErrGarbage, eventType)
	}
	return e, nil
}
