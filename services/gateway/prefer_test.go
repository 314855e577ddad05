package gateway

import (
	"net/http"
	"testing"
	"time"
)

func TestPreferIsReadAsTheRFCWants(t *testing.T) {
	const usual = 10 * time.Second
	for name, test := range map[string]struct {
		headers []string
		wait    time.Duration
		echoed  string
	}{
		"nothing asked":                         {nil, usual, ""},
		"answer at once":                        {[]string{"respond-async"}, 0, "respond-async"},
		"in capitals":                           {[]string{"Respond-Async"}, 0, "respond-async"},
		"wait for three seconds":                {[]string{"wait=3"}, 3 * time.Second, "wait=3"},
		"quoted, with spaces":                   {[]string{` wait = "3" `}, 3 * time.Second, "wait=3"},
		"no time at all":                        {[]string{"wait=0"}, 0, "wait=0"},
		"longer than anybody may":               {[]string{"wait=4000"}, time.Minute, "wait=60"},
		"a while, then at once":                 {[]string{"respond-async, wait=2"}, 2 * time.Second, "respond-async, wait=2"},
		"the same in two headers":               {[]string{"wait=2", "respond-async"}, 2 * time.Second, "wait=2, respond-async"},
		"twice: the first counts":               {[]string{"wait=2, wait=7"}, 2 * time.Second, "wait=2"},
		"with a parameter":                      {[]string{"respond-async; foo=bar"}, 0, "respond-async"},
		"others beside it":                      {[]string{`return=minimal, handling="a, wait=9", wait=4`}, 4 * time.Second, "wait=4"},
		"a negative time is ignored":            {[]string{"wait=-1"}, usual, ""},
		"no number is ignored, the next counts": {[]string{"wait=soon, wait=5"}, 5 * time.Second, "wait=5"},
		"only commas":                           {[]string{",,"}, usual, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := preferenceOf(&http.Request{Header: http.Header{"Prefer": test.headers}})
			if got := p.within(usual); got != test.wait || p.echoed != test.echoed {
				t.Errorf("waits %v and echoes %q, want %v and %q", got, p.echoed, test.wait, test.echoed)
			}
		})
	}
}
