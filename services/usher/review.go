package usher

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/lists"
)

type reviewCommand struct {
	List    reviewList   `cmd:"" help:"Cases of a tenant, the oldest first. Shows nothing of any person."`
	Show    reviewShow   `cmd:"" help:"A case, the person beside the entries. It is logged that you have seen the person."`
	Approve reviewDecide `cmd:"" help:"Approve a case, for FALSE_POSITIVE, VERIFIED or RISK_ACCEPTED."`
	Reject  reviewReject `cmd:"" help:"Reject a case, for TRUE_MATCH, NOT_VERIFIED or RISK_NOT_ACCEPTED."`
}

// reviewCase is a case as the ledger shows it in lists.
type reviewCase struct {
	ID         string          `json:"id"`
	State      string          `json:"state"`
	OpenedAt   time.Time       `json:"openedAt"`
	DecideBy   time.Time       `json:"decideBy"`
	Assignee   string          `json:"assignee,omitempty"`
	FirstActor string          `json:"firstActor,omitempty"` // who approved before, and may not again
	Score      int             `json:"score"`
	Level      string          `json:"level"`
	Hits       int             `json:"hits"`
	Notes      int             `json:"notes"`
	Decision   *reviewDecision `json:"decision,omitempty"`
}

// reviewDecision is what somebody has decided.
type reviewDecision struct {
	Approved bool      `json:"approved"`
	Actor    string    `json:"actor"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

var reviewShape = reviewCase{Assignee: " ", FirstActor: " ", Decision: &reviewDecision{}}

func (reviewList) shape() any { return []reviewCase{reviewShape} }
func (reviewShow) shape() any {
	return openedCase{reviewCase: reviewShape, Person: &events.Applicant{}, Listed: []listedHit{{}}, Written: []writtenNote{{}}}
}
func (reviewDecide) shape() any { return reviewShape }

type reviewList struct {
	ledgerDesk
	State    string        `default:"OPEN" enum:"OPEN,APPROVED,REJECTED,WITHDRAWN,ALL" help:"OPEN, APPROVED, REJECTED, WITHDRAWN or ALL."`
	Assignee string        `help:"Only the cases of this reviewer."`
	Older    time.Duration `help:"Only cases that were opened longer ago than this, e.g. 4h."`
	format
}

func (l reviewList) Run(ctx context.Context, out io.Writer) error {
	query := url.Values{"limit": {"500"}}
	if l.State != "ALL" {
		query.Set("state", l.State)
	}
	if l.Assignee != "" {
		query.Set("assignee", l.Assignee)
	}
	if l.Older > 0 {
		query.Set("openedTo", time.Now().Add(-l.Older).UTC().Format(time.RFC3339))
	}
	all := []reviewCase{}
	for {
		var page struct {
			Reviews []reviewCase
			Next    string
		}
		if err := l.ask(ctx, http.MethodGet, "/v1/reviews?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		all = append(all, page.Reviews...)
		if page.Next == "" {
			return l.print(out, all, func(out io.Writer) error { return printCases(out, all) })
		}
		query.Set("after", page.Next)
	}
}

func printCases(out io.Writer, all []reviewCase) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "CASE\tSTATE\tOPENED\tDECIDE BY\tASSIGNEE\tSCORE\tHITS\tNOTES")
	for _, c := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d %s\t%d\t%d\n", c.ID, c.State, instant(c.OpenedAt), instant(c.DecideBy), or(c.Assignee), c.Score, c.Level, c.Hits, c.Notes)
	}
	return table.Flush()
}

func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

// or is a text, or a dash for none.
func or(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

type reviewShow struct {
	ledgerDesk
	ID string `arg:"" name:"case" help:"Id of the case, as list shows it."`
	format
}

// openedCase is a case with the person, the entries that were hit, and the notes.
type openedCase struct {
	reviewCase
	Assessment events.Assessment `json:"assessment"`
	Person     *events.Applicant `json:"person,omitempty"`
	Listed     []listedHit       `json:"listed"`
	Written    []writtenNote     `json:"written"`
}

type listedHit struct {
	List   string       `json:"list"`
	Entry  string       `json:"entry"`
	Score  int          `json:"score"`
	Listed *lists.Entry `json:"listed,omitempty"` // nil where it is not on the list any more
}

type writtenNote struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Text string    `json:"text"`
}

func (s reviewShow) Run(ctx context.Context, out io.Writer) error {
	var c openedCase
	if err := s.ask(ctx, http.MethodGet, "/v1/reviews/"+url.PathEscape(s.ID), nil, &c); err != nil {
		return err
	}
	return s.print(out, c, c.text)
}

func (c openedCase) text(out io.Writer) error {
	fmt.Fprintf(out, "Case %s is %s, opened %s, to be decided by %s.\n", c.ID, c.State, instant(c.OpenedAt), instant(c.DecideBy))
	if c.FirstActor != "" {
		fmt.Fprintf(out, "%s has approved before; somebody else decides.\n", c.FirstActor)
	}
	if d := c.Decision; d != nil {
		fmt.Fprintf(out, "Decided by %s at %s: approved %v, %s.\n", d.Actor, instant(d.At), d.Approved, d.Reason)
	}
	for _, r := range c.Assessment.Reasons {
		fmt.Fprintf(out, "  %s %+d %s %s\n", r.Rule, r.Points, r.Outcome, r.Label)
	}
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "\n\tNAME\tBORN\tCOUNTRIES")
	if p := c.Person; p != nil {
		name := strings.Join(strings.Fields(p.GivenName+" "+p.MiddleName+" "+p.FamilyName+" "+p.CompanyName), " ")
		fmt.Fprintf(table, "applicant\t%s\t%s\t%s\n", name, or(p.BirthDate), or(p.Nationality))
	}
	for _, h := range c.Listed {
		at := fmt.Sprintf("%s %s, %d of 1000", h.List, h.Entry, h.Score)
		if h.Listed == nil {
			fmt.Fprintf(table, "%s\t(not on the list any more)\n", at)
			continue
		}
		for i, n := range h.Listed.Names {
			if i == 0 {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", at, n.Text, births(h.Listed.Births), or(strings.Join(h.Listed.Nationalities, " ")))
				continue
			}
			fmt.Fprintf(table, "\t%s\n", n.Text)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, n := range c.Written {
		fmt.Fprintf(out, "\n%s, %s:\n%s\n", n.By, instant(n.At), n.Text)
	}
	return nil
}

// births are birth dates as a list has them.
func births(all []lists.Birth) string {
	var texts []string
	for _, b := range all {
		text := b.From
		if b.To != b.From {
			text += " to " + b.To
		}
		if b.About {
			text = "about " + text
		}
		texts = append(texts, text)
	}
	return or(strings.Join(texts, ", "))
}

type reviewDecide struct {
	ledgerDesk
	ID     string `arg:"" name:"case" help:"Id of the case, as list shows it."`
	Reason string `required:"" help:"Why, in one of the words above."`
	Note   string `help:"More words, kept sealed with the case."`
	format
}

func (d reviewDecide) Run(ctx context.Context, out io.Writer) error {
	return d.decide(ctx, out, "approve")
}

type reviewReject struct{ reviewDecide }

func (r reviewReject) Run(ctx context.Context, out io.Writer) error {
	return r.decide(ctx, out, "reject")
}

func (d reviewDecide) decide(ctx context.Context, out io.Writer, verdict string) error {
	var c reviewCase
	path := "/v1/reviews/" + url.PathEscape(d.ID)
	if d.Note != "" {
		if err := d.ask(ctx, http.MethodPost, path+"/notes", map[string]string{"text": d.Note}, &c); err != nil {
			return fmt.Errorf("note: %w", err)
		}
	}
	if err := d.ask(ctx, http.MethodPost, path+"/"+verdict, map[string]string{"reason": d.Reason}, &c); err != nil {
		return err
	}
	return d.print(out, c, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "case %s is %s\n", c.ID, c.State)
		return err
	})
}
