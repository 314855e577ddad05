package risk

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

var update = flag.Bool("update", false, "write the golden files")

func TestADecisionIsExplainedInPlainWords(t *testing.T) {
	found := events.Assessment{
		Case: 2, Score: 70, Level: "HIGH", By: "policy", MoreHits: 3, Hits: []events.Hit{{List: "demo", Entry: "demo-5", Score: 912}},
		Reasons: []events.Reason{
			{Rule: "screening-hit", Outcome: "review"}, {Rule: "nationality-monitored", Points: 70, Label: "nationality under increased monitoring"},
			{Rule: "odd", Outcome: "review", Failed: true}, {Rule: "both", Points: -5, Outcome: "refuse"},
		},
		PEP: true, PossibleDuplicateOf: []string{"17d2381b-014b-8ced-b752-91fc2f8e1035", "2f0c5a7e-9d41-8b63-a2c8-5e7f1d3b6904"},
		Facts:    map[string]string{"nationality": "KP", "channel": "native"},
		Versions: events.Versions{Config: "0123456789ab", Policy: "1", Catalog: "1", Lists: "demo=2026-11-01/abc"},
	}
	approved, refused, plain := found, found, events.Assessment{Case: 1, Level: "LOW", By: "policy", Versions: events.Versions{Config: "0123456789ab"}}
	approved.Case, approved.By = 3, "rita"
	refused.Case, refused.By = 3, "policy"
	told := []events.Event{
		events.Requested{}, events.Categorized{Assessment: plain, Claimed: "low", Category: events.Category{ID: "B2C"}},
		events.ScreeningWait{Case: 1, NextCase: 2, Versions: plain.Versions},
		events.ReviewRequired{Assessment: found, NextCase: 3},
		events.ReviewDecided{Case: 3, Approved: true, Actor: "rita", Reason: "another birth date"},
		events.Categorized{Assessment: approved, Category: events.Category{ID: "HIGH_RISK_INDIVIDUAL"}},
		events.ReviewDecided{Case: 3, Actor: "policy", Reason: "nobody decided within 72h0m0s"},
		events.Rejected{At: events.StepRisk, Case: 3, Assessment: &refused},
		events.Rejected{At: events.StepRisk, Case: 1, Versions: plain.Versions},
		events.Rejected{At: events.StepAccount},
	}
	got := strings.Join(Explain(told), "\n") + "\n"
	file := filepath.Join("testdata", "explain.golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("got\n%s\n%v", got, err)
	}
}

func TestDecisionsOutliveTheStream(t *testing.T) {
	dir := t.TempDir()
	b, err := store.Open(t.Context(), "sqlite://"+dir, "risk", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Ensure(t.Context(), decisionSchema); err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, listed)
	h.decisions = store.NewDocs(b, decisionSchema, decision.fields)
	h.handle()
	h.decidedBy(events.ReviewDecided{Case: 2, Approved: false, Actor: "rita"})
	told, err := Decisions(t.Context(), b, "r1")
	if err != nil || len(told) != 2 {
		t.Fatalf("told %v, %v", told, err)
	}
	words := strings.Join(Explain(told), "\n")
	for _, want := range []string{"Case 1, decided by policy: a person has to decide", "Entry demo-5 of list demo", "Case 2, decided by rita: refused."} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, words)
		}
	}
	if strings.Contains(words, "Yssel") {
		t.Errorf("the person is in\n%s", words)
	}
}
