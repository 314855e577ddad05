package notifier

import (
	"errors"
	"sync"
)

// desk is what this process knows of letters besides their documents. Safe for concurrent use.
type desk struct {
	mu   sync.Mutex
	open map[string]bool // being handled; or, where false, taken by the server and not yet marked
}

func newDesk() *desk { return &desk{open: map[string]bool{}} }

var errInHand = errors.New("the letter is being handled already")

// take begins to handle a letter, before its document is read: a message can be delivered again
// while it is handled. done ends it. taken reports that the server has the mail, though an
// earlier handling could not mark that.
func (d *desk) take(id string) (done func(taken bool), taken bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	inHand, known := d.open[id]
	if inHand {
		return nil, false, errInHand
	}
	d.open[id] = true
	return func(taken bool) { d.done(id, taken) }, known, nil
}

func (d *desk) done(id string, taken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if taken {
		d.open[id] = false
		return
	}
	delete(d.open, id)
}
