package events

import (
	"encoding/json"
	"fmt"
)

// decoders maps every wire name to its type.
var decoders = func() map[string]func([]byte) (Event, error) {
	m := map[string]func([]byte) (Event, error){}
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
	register[Failed](m)
	register[Expired](m)
	register[ErasureRequested](m)
	register[Erased](m)
	return m
}()

func register[E Event](m map[string]func([]byte) (Event, error)) {
	var zero E
	m[zero.Type()] = func(data []byte) (Event, error) {
		var e E
		if err := json.Unmarshal(data, &e); err != nil {
			return nil, err
		}
		return e, nil
	}
}

// Known reports whether this version can decode events of a type.
func Known(eventType string) bool { return decoders[eventType] != nil }

// DecodeData decodes the data of an event of a type. Its error wraps ErrGarbage or ErrNewer.
func DecodeData(eventType string, data []byte) (Event, error) {
	decode, known := decoders[eventType]
	if !known {
		return nil, fmt.Errorf("%w: unknown event type", ErrNewer)
	}
	e, err := decode(data)
	if err != nil {
		// The cause is left out: encoding/json quotes the data.
		return nil, fmt.Errorf("%w: data is not a JSON %s", ErrGarbage, eventType)
	}
	return e, nil
}
