package usher

import (
	"bytes"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/services/gateway"
	"github.com/usherhq/usher/services/gateway/conformance"
	"github.com/usherhq/usher/services/gateway/openapi/openapitest"
)

func TestEveryDialectKeepsWhatItDocuments(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	target := conformance.Target{URL: "http://" + d.command.HTTP, Ops: "http://" + d.command.Ops, Token: testToken}
	checked, err := openapitest.New(gateway.Documents(), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	checked.Most = math.MaxInt
	target.Client = &http.Client{Transport: checked, Timeout: time.Minute}
	cases, err := conformance.Cases("")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]int{}
	for _, c := range cases {
		have[c.Dialect]++
	}
	for _, document := range gateway.Documents() {
		if have[document.Dialect] == 0 || len(document.YAML) == 0 {
			t.Errorf("%s has %d cases and %d bytes of OpenAPI", document.Dialect, have[document.Dialect], len(document.YAML))
		}
	}
	for _, c := range cases {
		t.Run(c.Dialect+"/"+c.Name, func(t *testing.T) {
			r := target.Run(t.Context(), c)
			if r.Err != nil || r.NotRun != "" {
				t.Errorf("%s\n%v %s", c.About, r.Err, r.NotRun)
			}
		})
	}
}

func TestTheReportNamesWhatFailedAndWhatWasNotRun(t *testing.T) {
	named := func(name string) conformance.Case {
		return conformance.Case{Dialect: "native", Name: name, About: "About."}
	}
	var out bytes.Buffer
	err := conformanceReport(&out, []conformance.Result{
		{Case: named("one")}, {Case: named("two"), NotRun: "needs --ops"}, {Case: named("three"), Err: errors.New("status: is 500, must be 200")},
	})
	if err == nil {
		t.Error("a failed case is no error")
	}
	for _, want := range []string{"not run: needs --ops", "FAILED", "native/three: About.\nstatus: is 500", "3 cases: 1 ok, 1 failed, 1 not run"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s\nlacks %s", out.String(), want)
		}
	}
	if err := conformanceReport(&out, []conformance.Result{{Case: named("two"), NotRun: "needs --ops"}}); err != nil {
		t.Error(err)
	}
}
