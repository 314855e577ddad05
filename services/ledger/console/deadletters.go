package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

const lettersShown = 50

// letter is a dead letter and whose registration it holds up.
type letter struct {
	bus.DeadLetter
	Registration string
	Step         events.Step
	Replayed     bool
}

func (k *console) letterOf(v *visit, l bus.DeadLetter) (letter, error) {
	s, err := events.ParseSubject(l.Subject)
	if err != nil {
		return letter{}, err
	}
	replayed, err := k.DeadLetters.Replayed(v.Context(), l)
	return letter{l, s.Registration, s.Step, replayed}, err
}

type deadLettersPage struct {
	Page []letter
	Next string
}

func (k *console) deadLetters(v *visit) (string, string, any, error) {
	from, _ := strconv.ParseUint(v.URL.Query().Get("after"), 10, 64)
	found, err := k.DeadLetters.DeadLettersOf(v.Context(), v.tenant.ID, from, lettersShown)
	if err != nil {
		return "", "", nil, err
	}
	var page deadLettersPage
	for _, l := range found {
		one, err := k.letterOf(v, l)
		if err != nil {
			return "", "", nil, err
		}
		page.Page = append(page.Page, one)
	}
	if len(found) == lettersShown {
		page.Next = nextPage(v, strconv.FormatUint(found[len(found)-1].Sequence+1, 10))
	}
	return "Dead letters", "deadletters", page, nil
}

type deadLetterPage struct {
	letter
	Event events.Record
	Data  string // indented JSON; "" where the message is none of our events, and could hold anything
}

// found returns the letter that a path names.
func (k *console) found(v *visit) (bus.DeadLetter, error) {
	sequence, err := strconv.ParseUint(mux.Vars(v.Request)["sequence"], 10, 64)
	missing := NotFound("The tenant has no such dead letter. They are kept for 30 days.")
	if err != nil {
		return bus.DeadLetter{}, missing
	}
	l, err := k.DeadLetters.DeadLetter(v.Context(), v.tenant.ID, sequence)
	if errors.Is(err, bus.ErrAbsent) {
		return l, missing
	}
	return l, err
}

func (k *console) deadLetter(v *visit) (string, string, any, error) {
	l, err := k.found(v)
	if err != nil {
		return "", "", nil, err
	}
	page := deadLetterPage{}
	if page.letter, err = k.letterOf(v, l); err != nil {
		return "", "", nil, err
	}
	if page.Event, err = l.Event(); err == nil {
		var indented bytes.Buffer
		if facts, err := json.Marshal(page.Event.Event); err == nil && json.Indent(&indented, facts, "", "  ") == nil {
			page.Data = indented.String() // what the type knows, and nothing else that the message has
		}
	}
	return "Dead letter " + strconv.FormatUint(l.Sequence, 10), "deadletter", page, nil
}

func (k *console) replay(v *visit) (string, error) {
	l, err := k.found(v)
	if err != nil {
		return "", err
	}
	err = k.DeadLetters.Replay(v.Context(), l.Sequence)
	return v.to("deadletters/" + strconv.FormatUint(l.Sequence, 10) + "?done=replayed"), err
}
