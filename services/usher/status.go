package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
)

type statusCommand struct {
	ID string `arg:"" help:"The registration's id."`
	gatewayDesk
	Ops string `env:"USHER_OPS" default:"http://127.0.0.1:8081" help:"The ledger."`
	format
}

func (statusCommand) shape() any {
	return app.RegistrationView{Outcome: " ", Codes: []string{""}, Category: &events.Category{}, Stages: []app.StageView{{}}, TraceID: " "}
}

func (s statusCommand) Run(ctx context.Context, out io.Writer) error {
	var view app.RegistrationView
	path := "/v1/registrations/" + url.PathEscape(s.ID)
	err := s.ask(ctx, http.MethodGet, path, nil, &view)
	var refused *refusalError
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		err = ledgerDesk{Ops: s.Ops, access: s.access}.ask(ctx, http.MethodGet, path, nil, &view)
	}
	if err != nil {
		return err
	}
	return s.print(out, view, func(out io.Writer) error { return printStatus(out, view) })
}

func printStatus(out io.Writer, v app.RegistrationView) error {
	fmt.Fprintf(out, "%s is %s", v.ID, v.Status)
	if len(v.Codes) > 0 {
		fmt.Fprintf(out, ", for %s", strings.Join(v.Codes, ", "))
	}
	fmt.Fprintf(out, "\ntenant %s, by %s", v.Tenant, or(v.Channel))
	if v.Category != nil {
		fmt.Fprintf(out, ", category %s", v.Category.ID)
	}
	if v.TraceID != "" {
		fmt.Fprintf(out, ", trace %s", v.TraceID)
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, stage := range v.Stages {
		fmt.Fprintf(table, "%s\t%s\t+%v\n", stage.At.Local().Format("2006-01-02 15:04:05.000"), stage.Event, time.Duration(stage.MS)*time.Millisecond)
	}
	return table.Flush()
}
