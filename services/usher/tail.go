package usher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/usherhq/usher/pkg/evidence"
)

type tailCommand struct {
	feedDesk
	Types  []string      `placeholder:"TYPE" help:"Only events of these types, e.g. registration.rejected,account.created."`
	Follow bool          `short:"f" help:"Go on with what comes, until Ctrl-C."`
	After  string        `placeholder:"CURSOR" help:"Begin after the event with this cursor; without it with the oldest event there is."`
	Cursor string        `placeholder:"FILE" help:"Keep in FILE how far it was, and go on from there. What was printed when it was killed may be printed again."`
	Every  time.Duration `default:"1s" help:"With --follow: how often to look when there was nothing new."`
	format
}

// shape is that of each line: CloudEvents in their JSON format, with cursor and sequence.
func (tailCommand) shape() any {
	return json.RawMessage(`{"specversion":"1.0","id":"","type":"","source":"","subject":"","time":"","sequence":"","cursor":"","datacontenttype":"","data":{}}`)
}

// Validate is kong's.
func (t tailCommand) Validate() error {
	if t.After != "" && t.Cursor != "" {
		return errors.New("--after and --cursor exclude each other")
	}
	return nil
}

func (t tailCommand) Run(ctx context.Context, out io.Writer) error {
	query := url.Values{"limit": {"1000"}}
	if len(t.Types) > 0 {
		query.Set("types", strings.Join(t.Types, ","))
	}
	after, err := t.place()
	if err != nil {
		return err
	}
	for away := false; ; {
		if after != "" {
			query.Set("after", after)
		}
		page, next, err := t.page(ctx, query)
		switch {
		case err != nil && ctx.Err() != nil && t.Follow:
			return nil
		case err != nil && (!t.Follow || lasting(err)):
			return err
		case err != nil:
			if !away {
				fmt.Fprintf(os.Stderr, "tail: %v; it is asked again\n", err)
			}
			away = true
		default:
			away = false
			if err := t.printPage(out, page); err != nil {
				return err
			}
			moved := next != after
			if after = next; moved {
				if err := t.keep(after); err != nil {
					return err
				}
				continue
			}
			if !t.Follow {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(t.Every):
		}
	}
}

// lasting reports whether asking again gets the same answer.
func lasting(err error) bool {
	var refused *refusalError
	var unreadable *unreadableError
	return errors.As(err, &unreadable) || errors.As(err, &refused) && refused.Status/100 == 4 && refused.Status != http.StatusTooManyRequests
}

func (t tailCommand) printPage(out io.Writer, page []json.RawMessage) error {
	for _, line := range page {
		if t.Output == outputJSON {
			if _, err := fmt.Fprintf(out, "%s\n", line); err != nil {
				return err
			}
			continue
		}
		e, _, err := evidence.ReadEvent(line)
		if err != nil {
			return fmt.Errorf("an event of the feed cannot be read: %w", err)
		}
		if _, err := fmt.Fprintf(out, "%d  %s  %-32s  %s\n", e.Sequence, e.Attributes["time"], e.Attributes["type"], e.Attributes["id"]); err != nil {
			return err
		}
	}
	return nil
}

// place is the cursor to go on from; "" is before the oldest event.
func (t tailCommand) place() (string, error) {
	if t.Cursor == "" {
		return t.After, nil
	}
	raw, err := os.ReadFile(t.Cursor)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", &unreadableError{fmt.Errorf("read --cursor: %w", err)}
	}
	return strings.TrimSpace(string(raw)), nil
}

// keep replaces the file of the cursor as a whole.
func (t tailCommand) keep(cursor string) error {
	if t.Cursor == "" {
		return nil
	}
	next := t.Cursor + ".next"
	err := os.WriteFile(next, []byte(cursor+"\n"), 0o600)
	if err == nil {
		err = os.Rename(next, t.Cursor)
	}
	if err != nil {
		return fmt.Errorf("keep the cursor: %w", err)
	}
	return nil
}
