package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
)

func TestTheVersionsInUseAndTheRunUnderWayAreThoseOfTheNewestFacts(t *testing.T) {
	list := func(id, version string) events.Event { return events.ListActivated{List: id, Version: version} }
	begun := func(run int, lists string) events.Event { return events.CustomersScreening{Run: run, Lists: lists} }
	ended := func(run int, lists string) events.Event { return events.CustomersScreened{Run: run, Lists: lists} }
	for name, c := range map[string]struct {
		told  []events.Event // a minute after each other
		used  string
		under int // run
	}{
		"nothing was told":                     {nil, "", 0},
		"a version":                            {[]events.Event{list("un", "1")}, "un=1", 0},
		"the newest version":                   {[]events.Event{list("un", "1"), ended(1, "un=1"), list("un", "2")}, "un=2", 0},
		"a run under way":                      {[]events.Event{list("un", "1"), begun(1, "un=1")}, "un=1", 1},
		"a run that ended":                     {[]events.Event{list("un", "1"), begun(1, "un=1"), ended(1, "un=1")}, "un=1", 0},
		"a version that came back":             {[]events.Event{list("un", "1"), ended(1, "un=1"), list("un", "2"), ended(2, "un=2"), begun(3, "un=1")}, "un=1", 3},
		"one that came back beside another":    {[]events.Event{list("un", "1"), list("eu", "1"), list("un", "2"), ended(2, "eu=1 un=2"), ended(3, "eu=1 un=1")}, "eu=1 un=1", 0},
		"a list that risk has without the use": {[]events.Event{list("un", "1"), begun(1, "ofac=7 un=1")}, "un=1", 1},
		"a run that newer lists cut off":       {[]events.Event{list("un", "1"), begun(1, "un=1"), list("un", "2")}, "un=2", 0},
	} {
		var lists, runs []events.Record
		for i, e := range c.told {
			r := events.Record{Event: e, Stored: noon.Add(time.Duration(i) * time.Minute)}
			if e.Step() == events.FactList {
				lists = append(lists, r)
			} else {
				runs = append(runs, r)
			}
		}
		s := screeningOf(lists, runs)
		var used []string
		for _, u := range s.Used {
			used = append(used, fmt.Sprintf("%s=%s", u.List, u.Version))
		}
		under := 0
		if s.Under != nil {
			under = s.Under.Run
		}
		if strings.Join(used, " ") != c.used || under != c.under {
			t.Errorf("%s: uses %v and is at run %d, want %s and %d", name, used, under, c.used, c.under)
		}
	}
}
