package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usherhq/usher/services/gateway/conformance"
)

// conformanceCommand asks an installation what each dialect documents.
type conformanceCommand struct {
	URL     string `default:"http://127.0.0.1:8080" help:"The gateway."`
	Ops     string `help:"The ledger of a development installation, for cases that read a mail or the public key; they are not run without."`
	Token   string `required:"" env:"USHER_DEV_TOKEN" help:"Bearer token of an administrator of all tenants."`
	Dialect string `help:"Only the cases of this dialect."`
	format
}

// conformanceResult is what became of a case.
type conformanceResult struct {
	Dialect string `json:"dialect"`
	Case    string `json:"case"`
	About   string `json:"about"`
	MS      int64  `json:"ms"`
	OK      bool   `json:"ok"`
	NotRun  string `json:"notRun,omitempty"` // why
	Error   string `json:"error,omitempty"`  // what differs
}

func (conformanceCommand) shape() any { return []conformanceResult{{NotRun: " ", Error: " "}} }

// Run prints a table of all cases and what differs; its error says how many failed.
func (c conformanceCommand) Run(ctx context.Context, out io.Writer) error {
	cases, err := conformance.Cases(c.Dialect)
	if err != nil {
		return err
	}
	target := conformance.Target{URL: strings.TrimSuffix(c.URL, "/"), Ops: strings.TrimSuffix(c.Ops, "/"), Token: c.Token}
	bar := newProgress(os.Stderr, "conformance", "cases", int64(len(cases)))
	defer bar.end()
	var results []conformance.Result
	for _, one := range cases {
		results = append(results, target.Run(ctx, one))
		bar.add(1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if c.Output == outputJSON {
		return errors.Join(writeJSON(out, shownResults(results)), conformanceReport(io.Discard, results))
	}
	return conformanceReport(out, results)
}

func shownResults(results []conformance.Result) []conformanceResult {
	all := []conformanceResult{}
	for _, r := range results {
		one := conformanceResult{Dialect: r.Dialect, Case: r.Name, About: r.About, MS: r.Took.Milliseconds(), OK: r.Err == nil && r.NotRun == "", NotRun: r.NotRun}
		if r.Err != nil {
			one.Error = r.Err.Error()
		}
		all = append(all, one)
	}
	return all
}

func conformanceReport(out io.Writer, results []conformance.Result) error {
	failed, notRun := 0, 0
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "DIALECT\tCASE\tRESULT\tTIME")
	for _, r := range results {
		outcome := "ok"
		switch {
		case r.Err != nil:
			outcome = "FAILED"
			failed++
		case r.NotRun != "":
			outcome = "not run: " + r.NotRun
			notRun++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%v\n", r.Dialect, r.Name, outcome, r.Took.Round(time.Millisecond))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			fmt.Fprintf(out, "\n%s/%s: %s\n%v\n", r.Dialect, r.Name, r.About, r.Err)
		}
	}
	fmt.Fprintf(out, "\n%d cases: %d ok, %d failed, %d not run\n", len(results), len(results)-failed-notRun, failed, notRun)
	if failed > 0 {
		return fmt.Errorf("%d of %d cases failed", failed, len(results))
	}
	return nil
}
