package usher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usherhq/usher/pkg/bus"
)

type subscribersCommand struct {
	Add    subscribersAdd    `cmd:"" help:"Make a subscriber's consumer and its user at the broker."`
	List   subscribersList   `cmd:"" help:"Tell who subscribes, and how far each has come."`
	Remove subscribersRemove `cmd:"" help:"Take a subscriber's user away, and forget how far it was."`
}

// subscriberArgs name a subscriber.
type subscriberArgs struct {
	Tenant string `arg:"" help:"The tenant whose feed is read."`
	Name   string `arg:"" help:"Of the subscriber: 1 to 32 of a-z, 0-9 and _."`
	Dir    string `type:"existingdir" help:"Directory of subscribers.conf, for the broker, and of the subscriber's password. Not for a broker without users, as that of usher dev."`
}

func (s subscriberArgs) subscriber() bus.FeedSubscriber {
	return bus.FeedSubscriber{Tenant: s.Tenant, Name: s.Name}
}

type subscribersAdd struct {
	subscriberArgs
	Since    time.Time     `help:"Begin with what was stored at this time, such as 2026-01-31T12:00:00Z; without it with the oldest event."`
	New      bool          `xor:"since" help:"Begin with what is stored from now on."`
	InFlight int           `default:"1" help:"How many events may be unacknowledged at once: more are faster, and come again behind later ones when the subscriber failed."`
	AckWait  time.Duration `default:"30s" help:"How long until an event that is not acknowledged comes again."`
	format
}

// subscriberMade is what a subscriber needs to connect.
type subscriberMade struct {
	Stream       string `json:"stream"`
	Consumer     string `json:"consumer"`
	Domain       string `json:"domain"`
	User         string `json:"user,omitempty"`         // with --dir
	PasswordFile string `json:"passwordFile,omitempty"` // with --dir
	Inbox        string `json:"inbox,omitempty"`        // with --dir
}

func (subscribersAdd) shape() any {
	return subscriberMade{User: " ", PasswordFile: " ", Inbox: " "}
}

// Validate is kong's.
func (s subscribersAdd) Validate() error {
	switch {
	case s.InFlight < 1 || s.InFlight > 65536:
		return errors.New("--in-flight is not a number from 1 to 65536")
	case s.AckWait < time.Second || s.AckWait > time.Hour:
		return errors.New("--ack-wait is not from 1s to 1h")
	}
	return s.subscriber().Check()
}

func (s subscribersAdd) Run(ctx context.Context, out io.Writer) error {
	b, done, err := dial(ctx, bus.SubscriptionsUser)
	if err != nil {
		return err
	}
	defer done()
	subscriber := s.subscriber()
	how := bus.Subscription{Since: s.Since, New: s.New, InFlight: s.InFlight, AckWait: s.AckWait}
	if err := bus.AddSubscriber(ctx, b.JetStream(), subscriber, how); err != nil {
		return err
	}
	made := subscriberMade{Stream: bus.FeedStream(s.Tenant), Consumer: s.Name, Domain: bus.Domain}
	if s.Dir == "" {
		return s.print(out, made, made.text)
	}
	hash, err := brokerPassword(s.Dir, subscriber.User())
	if err == nil {
		err = subscribersFile(s.Dir).change(subscriber.ConfigurationKey(), subscriber.Configuration(string(hash)))
	}
	if err != nil {
		return err
	}
	made.User, made.PasswordFile, made.Inbox = subscriber.User(), passwordFile(s.Dir, subscriber.User()), bus.InboxPrefix(subscriber.User())
	return s.print(out, made, made.text)
}

func (m subscriberMade) text(out io.Writer) error {
	_, err := fmt.Fprintf(out, "stream    %s\nconsumer  %s\ndomain    %s\n", m.Stream, m.Consumer, m.Domain)
	if m.User != "" {
		_, err = fmt.Fprintf(out, "user      %s\npassword  in %s\ninbox     %s\n\nGive subscribers.conf to the brokers and reload each twice: they serve a new account from the second time on.\n",
			m.User, m.PasswordFile, m.Inbox)
	}
	return err
}

type subscribersList struct {
	Tenant string `help:"Only of this tenant."`
	format
}

// subscribed is how far a subscriber has come.
type subscribed struct {
	Tenant       string    `json:"tenant"`
	Name         string    `json:"name"`
	Acknowledged uint64    `json:"acknowledged"`       // sequence in the feed
	Waiting      uint64    `json:"waiting"`            // events
	Delivered    time.Time `json:"delivered,omitzero"` // the last one; absent where there was none
}

func (subscribersList) shape() any { return []subscribed{{Delivered: time.Unix(0, 0)}} }

func (s subscribersList) Run(ctx context.Context, out io.Writer) error {
	config, err := loadConfig()
	if err != nil {
		return err
	}
	tenants := config.TenantIDs()
	if s.Tenant != "" {
		tenants = []string{s.Tenant}
	}
	b, done, err := dial(ctx, bus.SubscriptionsUser)
	if err != nil {
		return err
	}
	defer done()
	all := []subscribed{}
	for _, tenant := range tenants {
		found, err := bus.Subscribers(ctx, b.JetStream(), tenant)
		if err != nil {
			return err
		}
		for _, r := range found {
			all = append(all, subscribed{r.Tenant, r.Name, uint64(r.Acknowledged), uint64(r.Waiting), r.Delivered})
		}
	}
	return s.print(out, all, func(out io.Writer) error { return printSubscribed(out, all) })
}

func printSubscribed(out io.Writer, all []subscribed) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "tenant\tname\tacknowledged\twaiting\tlast delivery")
	for _, s := range all {
		last := "never"
		if !s.Delivered.IsZero() {
			last = s.Delivered.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\n", s.Tenant, s.Name, s.Acknowledged, s.Waiting, last)
	}
	return table.Flush()
}

type subscribersRemove struct {
	subscriberArgs
	format
}

func (subscribersRemove) shape() any { return map[string]string{"tenant": "", "removed": ""} }

func (s subscribersRemove) Run(ctx context.Context, out io.Writer) error {
	b, done, err := dial(ctx, bus.SubscriptionsUser)
	if err != nil {
		return err
	}
	defer done()
	subscriber := s.subscriber()
	if err := bus.RemoveSubscriber(ctx, b.JetStream(), subscriber); err != nil && !(errors.Is(err, bus.ErrNoSubscriber) && s.hasUser()) {
		return err
	}
	if s.Dir != "" {
		if err := subscribersFile(s.Dir).change(subscriber.ConfigurationKey(), ""); err != nil {
			return err
		}
		if err := os.Remove(s.password()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove password: %w", err)
		}
	}
	return s.print(out, map[string]string{"tenant": s.Tenant, "removed": s.Name}, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "%s of %s is removed\n", s.Name, s.Tenant)
		if s.Dir != "" {
			_, err = fmt.Fprintln(out, "Give subscribers.conf to the brokers and reload them.")
		}
		return err
	})
}

// password is the file of the subscriber's, which is the last that goes.
func (s subscribersRemove) password() string { return passwordFile(s.Dir, s.subscriber().User()) }

// hasUser reports whether a removal without the directory, or one that was cut off, left the user.
func (s subscribersRemove) hasUser() bool {
	if s.Dir == "" {
		return false
	}
	_, err := os.Stat(s.password())
	return err == nil
}

// subscribersFile is the directory of a subscribers.conf, a line for each subscriber.
type subscribersFile string

// change puts a line in the place of the one that begins with key, or takes that one away where
// line is empty. It makes the file where there is none.
func (dir subscribersFile) change(key, line string) error {
	file := filepath.Join(string(dir), "subscribers.conf")
	next := file + ".new" // is there after a rewriting that was cut off, and is whole
	before, err := os.ReadFile(next)
	if errors.Is(err, os.ErrNotExist) {
		before, err = os.ReadFile(file)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read subscribers: %w", err)
	}
	lines := []string{}
	for l := range bytes.Lines(before) {
		if key == "" || !bytes.HasPrefix(l, []byte(key)) {
			lines = append(lines, string(l))
		}
	}
	if line != "" {
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	content := []byte(strings.Join(lines, ""))
	part := next + ".part"
	for _, step := range []func() error{
		func() error { return os.WriteFile(part, content, 0o600) },
		func() error { return os.Rename(part, next) },
		func() error { return rewrite(file, content) },
		func() error { return os.Remove(next) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("write subscribers: %w", err)
		}
	}
	return nil
}

// rewrite puts content into a file and keeps its mode: it may be mounted by itself into a broker's
// container, which then sees the change and may still read it. A new file is its owner's alone.
func rewrite(file string, content []byte) error {
	info, err := os.Stat(file)
	if errors.Is(err, os.ErrNotExist) {
		return os.WriteFile(file, content, 0o600)
	}
	if err != nil {
		return err
	}
	if err := os.Chmod(file, 0o600); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(file, content, 0o600), os.Chmod(file, info.Mode().Perm()))
}
