package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"text/tabwriter"
)

// Row is one figure beside what it is held against.
type Row struct {
	Name      string  `json:"name"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
	Reference string  `json:"reference,omitempty"` // what it is held against, measured in the same run
	Against   float64 `json:"against,omitempty"`
	Bar       string  `json:"bar,omitempty"`
	Reached   *bool   `json:"reached,omitempty"` // nil where there is no bar
}

// held judges a row by its bar.
func (r Row) held(reached bool, bar string) Row {
	r.Bar, r.Reached = bar, &reached
	return r
}

// ratioTo holds a row against a reference: value / against must be at least bar.
func (r Row) ratioTo(reference string, against, bar float64) Row {
	r.Reference, r.Against = reference, against
	return r.held(r.Value >= bar*against, fmt.Sprintf("≥ %.2f × reference (is %.2f)", bar, r.Value/against))
}

// Report is the result of one run.
type Report struct {
	Processors int    `json:"processors"`
	Store      string `json:"store"`
	Clients    int    `json:"clients"`
	Rows       []Row  `json:"rows"`
}

func newReport(o Options) *Report {
	kind := "sqlite"
	if o.Store != "" {
		kind = "mongodb"
	}
	return &Report{Processors: runtime.GOMAXPROCS(0), Store: kind, Clients: o.Clients}
}

// Table writes the report for people.
func (r *Report) Table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%d processors, %d clients, documents in %s\n\n", r.Processors, r.Clients, r.Store)
	fmt.Fprintln(w, "what\tvalue\tunit\treference\t\tbar\t")
	for _, row := range r.Rows {
		against, reached := "", ""
		if row.Reference != "" {
			against = fmt.Sprintf("%.0f", row.Against)
		}
		if row.Reached != nil {
			reached = map[bool]string{true: "reached", false: "MISSED"}[*row.Reached]
		}
		fmt.Fprintf(w, "%s\t%.6g\t%s\t%s\t%s\t%s\t%s\n", row.Name, row.Value, row.Unit, row.Reference, against, row.Bar, reached)
	}
	return w.Flush()
}

// Save writes the report as JSON.
func (r *Report) Save(file string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	return os.WriteFile(file, append(raw, '\n'), 0o644)
}
