// Command nats follows a tenant's feed on the broker and prints it, a line for each event. The broker
// keeps its place: stopped and started again, it goes on where it was.
//
//	NATS_URL=nats://feed-TENANT-NAME:PASSWORD@HOST:4222 nats TENANT NAME
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
)

func main() {
	tenant, name := os.Args[1], os.Args[2]
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.CustomInboxPrefix("_INBOX.feed-"+tenant+"-"+name), nats.MaxReconnects(-1))
	check(err)
	js, err := jetstream.NewWithDomain(nc, "usher")
	check(err)
	feed, err := js.Consumer(context.Background(), "FEED_"+tenant, name)
	check(err)
	messages, err := feed.Messages()
	check(err)
	for {
		m, err := messages.Next()
		check(err)
		if err := handle(m); err != nil {
			log.Print(err)
			check(m.Nak()) // it comes again
			continue
		}
		check(m.Ack()) // only when it is done: an event is given again until then
	}
}

func handle(m jetstream.Msg) error {
	r, err := events.Decode(m.Headers().Get("ce-id"), m.Headers(), m.Data())
	if errors.Is(err, events.ErrNewer) {
		return nil // a type that this program does not know yet
	}
	if err != nil {
		return err
	}
	_, err = fmt.Println(r.Event.Type(), r.Subject)
	return err
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
