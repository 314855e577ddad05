package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/pkg/store"
)

var courseSchema = store.Schema{Collection: "webhook_courses", Index: [][]string{{"dueAt"}}}

// course is how far the deliveries to an endpoint are, under the endpoint's id. Who works on them
// holds it: of two by mistake only one can store what it did. Times are Unix milliseconds.
type course struct {
	// After is a place in the feed: each event up to it is delivered, is not wanted, or has a
	// delivery of its own, which is pending or failed.
	After uint64 `json:"after"`

	Holder string `json:"holder,omitempty"`
	Until  int64  `json:"until,omitempty"` // then another may: see heldBeside

	// Failures are how many events in a row have failed when they were first tried, since
	// FailingSince. Nothing is tried before RetryAt.
	Failures     int   `json:"failures,omitempty"`
	FailingSince int64 `json:"failingSince,omitempty"`
	RetryAt      int64 `json:"retryAt,omitempty"`
	// Probes are how often an endpoint that was left alone has failed again.
	Probes int `json:"probes,omitempty"`
	// Recovered makes all that is pending due; Afresh besides forgets how often it was tried.
	Recovered bool `json:"recovered,omitempty"`
	Afresh    bool `json:"afresh,omitempty"`
	// DueAt is when somebody has to look although the feed has nothing new; 0 for never.
	DueAt int64 `json:"dueAt,omitempty"`
}

func (c course) fields() store.Fields {
	if c.DueAt == 0 {
		return nil
	}
	return store.Fields{"dueAt": c.DueAt}
}

// tripAfter is after how many failures in a row an endpoint is left alone: from then on it is asked by
// one event that failed and one that is new, as seldom as a delivery is tried again.
const tripAfter = 5

func (c course) tripped() bool { return c.Failures >= tripAfter }

// heldBeside reports whether another process than me holds the course. A lease that ends later than
// one that begins now was taken by a clock that was wrong, and does not count.
func (c course) heldBeside(me string, now time.Time) bool {
	left := time.UnixMilli(c.Until).Sub(now)
	return c.Holder != me && left > 0 && left <= leaseTime+clocksDiffer
}

// recover makes an endpoint be looked at now, as one that has not failed.
func (c *course) recover(now time.Time) {
	c.Failures, c.FailingSince, c.RetryAt, c.Probes = 0, 0, 0, 0
	c.Recovered, c.DueAt = true, now.UnixMilli()
}

// wake recovers an endpoint whose deliveries count their tries anew.
func (c *course) wake(now time.Time) {
	c.recover(now)
	c.Afresh = true
}

// changeTries is how often a change begins anew because another was faster.
const changeTries = 20

// errContention means that others were faster each time.
var errContention = errors.New("the webhook is being changed by others")

// courseOf reads the course of an endpoint, which begins where the endpoint says.
func courseOf(ctx context.Context, courses *store.Docs[course], e Endpoint) (store.Stored[course], error) {
	c, err := courses.Get(ctx, e.ID)
	if errors.Is(err, store.ErrNotFound) {
		c, _, err = courses.InsertOrGet(ctx, e.ID, course{After: e.Begin})
	}
	if err != nil {
		return c, fmt.Errorf("read course: %w", err)
	}
	return c, nil
}

// changeCourse edits a course, whoever holds it: the holder meets the change when it stores its own.
func changeCourse(ctx context.Context, courses *store.Docs[course], e Endpoint, edit func(*course)) error {
	for range changeTries {
		c, err := courseOf(ctx, courses, e)
		if err != nil {
			return err
		}
		edit(&c.Value)
		if _, err = courses.Update(ctx, c); !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return errContention
}
