package ledger

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/services/ledger/console"
	"github.com/usherhq/usher/services/ledger/webhooks"
)

type consoleWebhooks struct{ api *api }

const webhooksShown = 50

// refuseWebhook tells what is known of an error of a webhook.
func refuseWebhook(err error) error {
	switch {
	case errors.Is(err, webhooks.ErrNone):
		return console.NotFound("The tenant has no such webhook.")
	case errors.Is(err, webhooks.ErrNoEvent):
		return console.NotFound("The tenant's feed has no such event any more.")
	case errors.Is(err, store.ErrCursor):
		return errBadCursor
	}
	return err
}

func consoleWebhook(v webhookView) console.Webhook {
	return console.Webhook{
		ID: v.ID, URL: v.URL, Description: v.Description, State: string(v.State), Reason: v.Reason, Types: v.Types, Ordered: v.Ordered,
		CreatedAt: v.CreatedAt, Behind: v.Behind, Failures: v.Failures, FailingSince: v.FailingSince, RetryAt: v.RetryAt,
	}
}

func (c consoleWebhooks) List(ctx context.Context, tenant, after string) ([]console.Webhook, string, error) {
	found, next, err := c.api.webhooks.List(ctx, tenant, after, webhooksShown)
	if err != nil {
		return nil, "", refuseWebhook(err)
	}
	views, err := c.api.viewsOf(ctx, tenant, found...)
	var page []console.Webhook
	for _, v := range views {
		page = append(page, consoleWebhook(v))
	}
	return page, next, err
}

func (c consoleWebhooks) Get(ctx context.Context, tenant, id string) (console.Webhook, error) {
	e, err := c.api.webhooks.Get(ctx, tenant, id)
	if err != nil {
		return console.Webhook{}, refuseWebhook(err)
	}
	views, err := c.api.viewsOf(ctx, tenant, e)
	if err != nil {
		return console.Webhook{}, err
	}
	return consoleWebhook(views[0]), nil
}

func (c consoleWebhooks) Deliveries(ctx context.Context, tenant, id string, q url.Values) ([]console.Delivery, string, error) {
	state := webhooks.Outcome(q.Get("state"))
	if state != "" && !slices.Contains(webhooks.Outcomes, state) {
		return nil, "", &console.Refusal{Status: http.StatusBadRequest, Why: "There is no such state of a delivery."}
	}
	e, err := c.api.webhooks.Get(ctx, tenant, id)
	if err != nil {
		return nil, "", refuseWebhook(err)
	}
	found, next, err := c.api.webhooks.Deliveries(ctx, e, state, q.Get("after"), webhooksShown)
	var page []console.Delivery
	for _, d := range found {
		page = append(page, consoleDelivery(tenant, d))
	}
	return page, next, refuseWebhook(err)
}

func consoleDelivery(tenant string, d webhooks.Delivery) console.Delivery {
	v := viewOfDelivery(tenant, d)
	shown := console.Delivery{Event: v.Event, Type: v.Type, State: string(v.State), Sequence: d.Sequence, At: v.At, NextAt: v.NextAt}
	for _, a := range v.Attempts {
		shown.Attempts = append(shown.Attempts, console.Attempt{At: a.At, Took: time.Duration(a.DurationMs) * time.Millisecond, Status: a.Status, Error: a.Error})
	}
	return shown
}

// Of returns the newest deliveries of a registration's events.
func (c consoleWebhooks) Of(ctx context.Context, tenant, registration string) ([]console.Sent, error) {
	found, endpoints, err := c.api.webhooks.DeliveriesOf(ctx, tenant, registration, webhooksShown)
	sent := make([]console.Sent, len(found))
	for i, d := range found {
		sent[i] = console.Sent{Delivery: consoleDelivery(tenant, d), Webhook: d.Endpoint, URL: endpoints[d.Endpoint].URL}
	}
	return sent, err
}

func (c consoleWebhooks) Replay(ctx context.Context, tenant, id, actor string, sequence uint64) error {
	e, err := c.api.webhooks.Get(ctx, tenant, id)
	if err == nil {
		_, err = c.api.webhooks.ReplayOne(ctx, e, actor, sequence)
	}
	return refuseWebhook(err)
}
