package bus

import (
	"slices"
	"strings"

	"github.com/usherhq/usher/events"
)

// Users of the broker besides the services, which connect under their own names.
const (
	TopologyUser      = "topology"      // makes streams and consumers
	OperatorUser      = "operator"      // looks at streams and consumers, lists and replays dead letters
	EraserUser        = "eraser"        // asks for erasures and reads every stream to prove them
	SubscriptionsUser = "subscriptions" // makes and removes the consumers of subscribers
)

// User is who connects to the broker and all it may do there. What is not listed is refused.
type User struct {
	Name      string
	Publish   []string
	Subscribe []string
}

// InboxPrefix is where a user's answers arrive. Each has its own, because who may read an
// inbox reads everything that others are answered there.
func InboxPrefix(user string) string { return "_INBOX." + user }

// Users returns every service and the users of the command line.
func Users() []User {
	var users []User
	for _, s := range events.Services {
		users = append(users, serviceUser(s))
	}
	return append(users, topologyUser(), operatorUser(), eraserUser(), subscriptionsUser())
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

// anyFeed is a wildcard for the same reason. It reaches the other streams too: what VAULT holds is
// sealed, the rest is what ledger sees and shows anyway.
var anyFeed = api("DIRECT.GET", "*")

// histories lets the leader and, for more than one event, any replica be asked for the events
// of a registration.
var histories = []string{api("DIRECT.GET", Registrations), api("STREAM.MSG.GET", Registrations)}

// vaultUse is what each service does with the sealed persons. The others cannot read them.
var vaultUse = map[events.Service][]string{
	events.Gateway:   {"vault.*.*", vaultDelete, api("STREAM.MSG.GET", VaultStream)}, // finds what it is to erase
	events.Validator: vaultReading,
	events.Risk:      append([]string{"vault.*.*", "vault.*.*.*"}, vaultReading...), // puts back whom a person reviews
	events.Accounts:  append([]string{"vault.*.*"}, vaultReading...),                // puts in whom a notice goes to
	events.Notifier:  vaultReading,
	events.Ledger:    vaultReading[:2], // shows a reviewer whom a case is about
}

// A stage reads a person, and deletes it where its outcome is the last that needed it.
var (
	vaultDelete  = api("STREAM.MSG.DELETE", VaultStream)
	vaultReading = []string{api("DIRECT.GET", VaultStream), api("STREAM.MSG.GET", VaultStream), vaultDelete}
)

func serviceUser(s events.Service) User {
	var consumers []string
	for _, c := range Consumers() {
		if c.Service == s {
			consumers = append(consumers, reading(c.Stream, c.Name)...)
			consumers = append(consumers, api("STREAM.MSG.GET", c.Stream)) // of what was parked
		}
	}
	u := user(string(s), steps(s), []string{"dead." + string(s) + ".>", anyStream}, consumers,
		histories, vaultUse[s])
	if s == events.Gateway {
		// Synchronous answers are woken by a registration's events, and intake stops when the
		// stages' queues do not fit any more.
		u.Subscribe = append(u.Subscribe, "reg.*.*.>")
		for consumer := range stepsLeft {
			u.Publish = append(u.Publish, api("CONSUMER.INFO", Registrations, consumer))
		}
	}
	if s == events.Ledger {
		u.Publish = append(append(u.Publish, anyFeed), replaying()...)
		for _, c := range Consumers() { // shows how every stage keeps up
			u.Publish = append(u.Publish, api("CONSUMER.INFO", c.Stream, c.Name))
		}
	}
	slices.Sort(u.Publish)
	u.Publish = slices.Compact(u.Publish)
	return u
}

// steps are the subjects of the events that the flow table lets a service publish.
func steps(s events.Service) []string {
	var subjects []string
	for _, stream := range eventStreams {
		for _, row := range stream.rows {
			if slices.Contains(row.From, s) {
				subjects = append(subjects, stream.prefix+string(row.Step)+".*")
			}
		}
	}
	return subjects
}

// topologyUser can make and change streams and consumers, and neither read nor delete.
func topologyUser() User {
	var consumers []string
	for _, c := range Consumers() {
		consumers = append(consumers, api("CONSUMER.CREATE", c.Stream, c.Name, c.Filter))
	}
	return user(TopologyUser, []string{anyStream, api("STREAM.CREATE", "*"), api("STREAM.UPDATE", "*")}, consumers)
}

// operatorUser reads dead letters, judges whether they can be replayed, and replays them. It also
// looks at all streams and consumers, for doctor and watch.
func operatorUser() User {
	dead := []string{api("DIRECT.GET", DeadLetters), api("STREAM.MSG.GET", VaultStream)}
	looking := []string{api("INFO"), anyStream, api("DIRECT.GET", Tenants), api("DIRECT.GET", Replays)}
	for _, stream := range []string{Registrations, Tenants, Replays} {
		looking = append(looking, api("CONSUMER.INFO", stream, "*"))
	}
	return user(OperatorUser, dead, looking, histories, replaying())
}

// replaying lets dead letters be given back to any stage.
func replaying() []string {
	var subjects []string
	for _, s := range events.Services {
		subjects = append(subjects, "replay."+string(s)+".*.>")
	}
	return subjects
}

// eraserUser asks for erasures, follows them, and reads what any stream holds.
func eraserUser() User {
	erasure := "reg.*.*." + string(events.StepErasure) + ".*"
	return user(EraserUser, []string{erasure, anyStream, api("STREAM.NAMES"), api("DIRECT.GET", "*"), api("STREAM.MSG.GET", "*")})
}

// subscriptionsUser makes, lists and removes consumers of feeds, whose names are those of tenants: a
// wildcard cannot tell them from other streams. It can neither read nor publish.
func subscriptionsUser() User {
	return user(SubscriptionsUser, []string{
		anyStream, api("CONSUMER.CREATE", "*", "*"), api("CONSUMER.INFO", "*", "*"), api("CONSUMER.LIST", "*"), api("CONSUMER.DELETE", "*", "*"),
	})
}
