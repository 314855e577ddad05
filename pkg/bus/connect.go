// Package bus carries events: publishing each fact once, and running typed handlers on
// durable consumers with one rule for every stage (receive, idempotent effect, publish the
// step, acknowledge).
package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
)

// answersMax is more than the answers to one request: a history is at most 1,024 events. Its queue
// is made for each read.
const answersMax = 2048

// Connect dials the broker and keeps dialling for ever, also at start. Nothing is buffered
// while there is no connection: a publish then fails at once, so that no event is stored
// after its sender was told that it was not. The caller closes the connection.
func Connect(address, name string, log *slog.Logger, options ...nats.Option) (*nats.Conn, error) {
	defaults := []nats.Option{
		nats.Name(name),
		nats.CustomInboxPrefix(InboxPrefix(name)),
		nats.ReconnectBufSize(-1),
		nats.SyncQueueLen(answersMax),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(2 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("broker connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("broker connection restored") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("broker reported an error", "error", err)
		}),
	}
	nc, err := nats.Connect(address, append(defaults, options...)...)
	var unreadable *url.Error
	if errors.As(err, &unreadable) { // its words quote the address, and so a password
		return nil, errors.New("connect to broker: NATS_URL is not a URL; give nats://USER:PASSWORD@HOST:PORT, the password percent-encoded")
	}
	if err != nil {
		return nil, fmt.Errorf("connect to broker: %w", err)
	}
	return nc, nil
}
