package webhooks

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"
)

// Probed is the answer to a test event.
type Probed struct {
	Attempt
	WebhookID string
	Answer    string // the beginning of its body
}

// Probe sends a test event, whatever state the endpoint is in, and waits for the answer. One that
// was left alone and takes the event is delivered to again at once. ErrBusy means that as many
// requests are under way as may be.
func (d *Dispatcher) Probe(ctx context.Context, e Endpoint) (Probed, error) {
	by, err := openSecrets(d.keys, e)
	if err != nil {
		return Probed{}, err
	}
	id := "probe." + e.ID + "." + rand.Text()
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "/usher/ledger", "type": ProbeType, "time": time.Now().UTC().Format(time.RFC3339Nano),
		"datacontenttype": "application/json", "data": map[string]string{"webhook": e.ID},
	})
	if err != nil {
		return Probed{}, fmt.Errorf("write probe: %w", err)
	}
	leave, ok := d.tryEnter(e.Tenant)
	if !ok {
		return Probed{}, ErrBusy
	}
	a, err := d.sender.send(ctx, e.URL, by, message{MessageID(id), body})
	leave()
	if err != nil {
		return Probed{}, err
	}
	p := Probed{a, MessageID(id), a.answer}
	if !a.ok() || e.State != Enabled {
		return p, nil
	}
	return p, changeCourse(ctx, d.courses, e, func(c *course) {
		if c.RetryAt > 0 {
			c.recover(time.Now())
		}
	})
}

// ProbeType is the type of a test event. No event of a feed has it.
const ProbeType = "webhook.probe"
