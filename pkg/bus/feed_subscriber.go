package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Domain is the JetStream domain by which subscribers address the broker.
const Domain = "usher"

// FeedSubscriber is a system of a tenant that reads its feed by a durable consumer of its own.
type FeedSubscriber struct {
	Tenant string
	Name   string // also of its consumer: 1 to 32 of a–z, 0–9 and _
}

// Subscription is how a subscriber reads.
type Subscription struct {
	Since    time.Time     // from the events stored then; zero for the oldest
	New      bool          // only from now on; not with Since
	InFlight int           // events that may be unacknowledged at once; 1 for strict order also after a failure
	AckWait  time.Duration // until an unacknowledged event comes again
}

// Reading is a subscriber and how far it is.
type Reading struct {
	FeedSubscriber
	Acknowledged uint64    // place in the feed up to which everything is acknowledged
	Waiting      uint64    // events that it has not acknowledged
	Delivered    time.Time // of its last delivery; zero where there was none
}

// ErrNoSubscriber is returned for one that is not there.
var ErrNoSubscriber = errors.New("the tenant has no such subscriber")

// ErrSubscriberDiffers is returned for one that is there and reads in another way.
var ErrSubscriberDiffers = errors.New("the subscriber is there already and reads in another way; remove it first")

var subscriberName = regexp.MustCompile(`^[a-z0-9_]{1,32}$`)

// Check names what is wrong with the name.
func (s FeedSubscriber) Check() error {
	if !subscriberName.MatchString(s.Name) {
		return errors.New("the name of a subscriber is 1 to 32 of a-z, 0-9 and _")
	}
	return nil
}

// User names who connects as the subscriber. No two have the same: a name has no hyphen.
func (s FeedSubscriber) User() string { return "feed-" + s.Tenant + "-" + s.Name }

// Configuration is the subscriber's line of subscribers.conf: an account that imports what its
// consumer needs and nothing else, with one user. The hash is that of its password, by bcrypt.
func (s FeedSubscriber) Configuration(hash string) string {
	var imports []string
	for _, subject := range reading(FeedStream(s.Tenant), s.Name) {
		imports = append(imports, fmt.Sprintf("{service: {account: %s, subject: %q}, to: %q}", account, subject, inDomain(subject)))
	}
	u := s.user()
	return fmt.Sprintf("%s {imports: [%s], users: [{user: %q, password: %q, permissions: {publish: {allow: [%s]}, subscribe: {allow: [%s]}}}]}",
		s.ConfigurationKey(), strings.Join(imports, ", "), u.Name, hash, quoted(u.Publish), quoted(u.Subscribe))
}

// ConfigurationKey begins the subscriber's line and no other one.
func (s FeedSubscriber) ConfigurationKey() string { return fmt.Sprintf("%q:", s.User()) }

// user may take and acknowledge what is the subscriber's.
func (s FeedSubscriber) user() User {
	var subjects []string
	for _, subject := range reading(FeedStream(s.Tenant), s.Name) {
		subjects = append(subjects, inDomain(subject))
	}
	return user(s.User(), subjects)
}

// inDomain is where an account without streams of its own finds the API of another.
func inDomain(subject string) string {
	if rest, ok := strings.CutPrefix(subject, api("")); ok {
		return "$JS." + Domain + ".API." + rest
	}
	return subject
}

func quoted(subjects []string) string {
	q := make([]string, len(subjects))
	for i, s := range subjects {
		q[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(q, ", ")
}

// AddSubscriber makes a subscriber's consumer, which it cannot make itself: who may create consumers
// can change others' as well. One that is there as it should be is left alone. The errors wrap
// ErrNoFeed and ErrSubscriberDiffers.
func AddSubscriber(ctx context.Context, js jetstream.JetStream, s FeedSubscriber, how Subscription) error {
	if err := s.Check(); err != nil {
		return err
	}
	c := Consumer{Name: s.Name, InFlight: how.InFlight}.config(0)
	c.AckWait = how.AckWait
	switch {
	case how.New:
		c.DeliverPolicy = jetstream.DeliverNewPolicy
	case !how.Since.IsZero():
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &how.Since
	}
	_, err := js.CreateConsumer(ctx, FeedStream(s.Tenant), c)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("add subscriber: %w; run `usher topology apply`", ErrNoFeed)
	case errors.Is(err, jetstream.ErrConsumerExists):
		return fmt.Errorf("add subscriber: %w", ErrSubscriberDiffers)
	case err != nil:
		return fmt.Errorf("add subscriber: %w", err)
	}
	return nil
}

// RemoveSubscriber forgets where a subscriber was. The error wraps ErrNoSubscriber.
func RemoveSubscriber(ctx context.Context, js jetstream.JetStream, s FeedSubscriber) error {
	err := s.Check()
	if err == nil {
		err = js.DeleteConsumer(ctx, FeedStream(s.Tenant), s.Name)
	}
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		err = ErrNoSubscriber
	}
	if err != nil {
		return fmt.Errorf("remove subscriber: %w", err)
	}
	return nil
}

// Subscribers returns those of a tenant by their names; none for a tenant without a feed.
func Subscribers(ctx context.Context, js jetstream.JetStream, tenant string) ([]Reading, error) {
	feed, err := js.Stream(ctx, FeedStream(tenant))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list subscribers: %w", err)
	}
	var all []Reading
	found := feed.ListConsumers(ctx)
	for c := range found.Info() {
		r := Reading{FeedSubscriber: FeedSubscriber{tenant, c.Name}, Acknowledged: c.AckFloor.Stream, Waiting: c.NumPending + uint64(c.NumAckPending)}
		if c.Delivered.Last != nil {
			r.Delivered = *c.Delivered.Last
		}
		all = append(all, r)
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("list subscribers: %w", err)
	}
	slices.SortFunc(all, func(a, b Reading) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}
