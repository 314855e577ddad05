package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
)

// Users of the broker besides the services, which connect under their own names.
const (
	TopologyUser = "topology" // makes streams and consumers
	OperatorUser = "operator" // lists and replays dead letters
)

// complianceConsumer is the one durable on a tenant's feed that its compliance user reads.
const (
	complianceConsumer = "compliance"
	complianceInFlight = 1024
)

// User is who connects to the broker and all it may do there. What is not listed is refused.
type User struct {
	Name      string
	Publish   []string
	Subscribe []string
}

// ComplianceUser names the user that reads a tenant's feed.
func ComplianceUser(tenant string) string { return complianceConsumer + "-" + tenant }

// InboxPrefix is where a user's answers arrive. Each has its own, because who may read an
// inbox reads everything that others are answered there.
func InboxPrefix(user string) string { return "_INBOX." + user }

// Users returns every service, the topology and operator users, and a compliance user for
// each of the tenants.
func Users(tenants ...string) []User {
	var users []User
	for _, s := range events.Services {
		users = append(users, serviceUser(s))
	}
	users = append(users, topologyUser(), operatorUser())
	for _, tenant := range tenants {
		users = append(users, user(ComplianceUser(tenant), reading(FeedStream(tenant), complianceConsumer)))
	}
	return users
}

// user may do what is given and read its own inbox.
func user(name string, publish ...[]string) User {
	return User{Name: name, Publish: slices.Concat(publish...), Subscribe: []string{InboxPrefix(name) + ".>"}}
}

// api is a subject of the broker's JetStream API.
func api(parts ...string) string { return "$JS.API." + strings.Join(parts, ".") }

// anyStream is a wildcard because tenants, and with them their feeds, come while services run.
// It tells names, sizes and subjects; none of them is personal data.
var anyStream = api("STREAM.INFO", "*")

// reading is what a pull consumer's client needs, and not what would let it change the consumer.
func reading(stream, consumer string) []string {
	return []string{
		api("CONSUMER.INFO", stream, consumer),
		api("CONSUMER.MSG.NEXT", stream, consumer),
		"$JS.ACK." + stream + "." + consumer + ".>",
	}
}

// histories lets the leader and, for more than one event, any replica be asked for the events
// of a registration.
var histories = []string{api("DIRECT.GET", Registrations), api("STREAM.MSG.GET", Registrations)}

// vaultUse is what each service does with the sealed persons. The others cannot read them.
var vaultUse = map[events.Service][]string{
	events.Gateway:   {"vault.*.*", api("STREAM.MSG.DELETE", VaultStream)},
	events.Validator: vaultReading,
	events.Risk:      vaultReading,
	events.Accounts:  vaultReading,
	events.Notifier:  vaultReading,
}

var vaultReading = []string{api("DIRECT.GET", VaultStream), api("STREAM.MSG.GET", VaultStream)}

func serviceUser(s events.Service) User {
	var consumers []string
	for _, c := range Consumers() {
		if c.Service == s {
			consumers = append(consumers, reading(c.Stream, c.Name)...)
		}
	}
	u := user(string(s), steps(s), []string{"dead." + string(s) + ".>", anyStream}, consumers,
		histories, []string{api("STREAM.MSG.GET", Replays)}, vaultUse[s])
	if s == events.Gateway {
		// Synchronous answers are woken by a registration's events, and intake stops when the
		// stages' queues do not fit any more.
		u.Subscribe = append(u.Subscribe, "reg.*.*.>")
		for consumer := range stepsLeft {
			u.Publish = append(u.Publish, api("CONSUMER.INFO", Registrations, consumer))
		}
	}
	slices.Sort(u.Publish)
	return u
}

// steps are the subjects of the events that the flow table lets a service publish.
func steps(s events.Service) []string {
	var subjects []string
	for _, row := range events.Flow {
		if slices.Contains(row.From, s) {
			subjects = append(subjects, "reg.*.*."+string(row.Step)+".*")
		}
	}
	return subjects
}

// topologyUser can make and change streams and consumers, and neither read nor delete.
func topologyUser() User {
	consumers := []string{api("CONSUMER.CREATE", "*", complianceConsumer)}
	for _, c := range Consumers() {
		consumers = append(consumers, api("CONSUMER.CREATE", c.Stream, c.Name, c.Filter))
	}
	return user(TopologyUser, []string{anyStream, api("STREAM.CREATE", "*"), api("STREAM.UPDATE", "*")}, consumers)
}

// operatorUser reads dead letters, judges whether they can be replayed, and replays them.
func operatorUser() User {
	var replays []string
	for _, s := range events.Services {
		replays = append(replays, "replay."+string(s)+".*.>")
	}
	dead := []string{api("STREAM.INFO", DeadLetters), api("DIRECT.GET", DeadLetters), api("STREAM.MSG.GET", VaultStream)}
	return user(OperatorUser, dead, histories, replays)
}

// ApplyCompliance makes the durable consumer that each tenant's compliance user reads. The
// user cannot make one itself: who may create consumers can change others' as well.
func (t Topology) ApplyCompliance(ctx context.Context, js jetstream.JetStream) error {
	for _, tenant := range t.Tenants {
		c := Consumer{Stream: FeedStream(tenant), Name: complianceConsumer, InFlight: complianceInFlight}
		if _, err := js.CreateOrUpdateConsumer(ctx, c.Stream, c.config(0)); err != nil {
			return fmt.Errorf("apply consumer %s of %s: %w", c.Name, c.Stream, err)
		}
	}
	return nil
}

// Authorization writes the users as an include of a NATS server's configuration. Their
// passwords are the variables <user>_password of passwords.conf beside it.
func Authorization(users []User) string {
	var b strings.Builder
	b.WriteString("# Written by `usher topology permissions`; do not edit.\n" +
		"include passwords.conf\n\n" +
		"authorization {\n" +
		"  timeout: 5\n" +
		"  default_permissions: {publish: {deny: \">\"}, subscribe: {deny: \">\"}}\n" +
		"  users: [\n")
	for _, u := range users {
		fmt.Fprintf(&b, "    {\n      user: %q\n      password: $%s\n      permissions: {\n", u.Name, PasswordVariable(u.Name))
		list(&b, "publish", u.Publish)
		list(&b, "subscribe", u.Subscribe)
		b.WriteString("      }\n    }\n")
	}
	b.WriteString("  ]\n}\n")
	return b.String()
}

// PasswordVariable names the configuration variable that holds the hash of a user's password.
func PasswordVariable(user string) string { return user + "_password" }

func list(b *strings.Builder, name string, subjects []string) {
	fmt.Fprintf(b, "        %s: {allow: [\n", name)
	for _, s := range subjects {
		fmt.Fprintf(b, "          %q\n", s)
	}
	b.WriteString("        ]}\n")
}
