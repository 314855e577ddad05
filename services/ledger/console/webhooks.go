package console

import (
	"net/http"
	"net/url"
	"strconv"
)

type webhooksPage struct {
	Page []Webhook
	Next string
}

func (k *console) webhooks(v *visit) (string, string, any, error) {
	found, next, err := k.Webhooks.List(v.Context(), v.tenant.ID, v.URL.Query().Get("after"))
	return "Webhooks", "webhooks", webhooksPage{found, nextPage(v, next)}, err
}

var deliveryStates = []string{"ALL", "pending", "delivered", "failed"}

type webhookPage struct {
	Webhook
	Deliveries queuePage[Delivery]
}

func (k *console) webhook(v *visit) (string, string, any, error) {
	hook, err := k.Webhooks.Get(v.Context(), v.tenant.ID, v.id())
	if err != nil {
		return "", "", nil, err
	}
	page, err := queue(v, deliveryStates, func(q url.Values) ([]Delivery, string, error) {
		return k.Webhooks.Deliveries(v.Context(), v.tenant.ID, v.id(), q)
	})
	return "Webhook", "webhook", webhookPage{hook, page}, err
}

func (k *console) replayDelivery(v *visit) (string, error) {
	sequence, err := strconv.ParseUint(v.PostFormValue("sequence"), 10, 64)
	if err != nil || sequence == 0 {
		return "", &Refusal{http.StatusUnprocessableEntity, "The form does not name an event."}
	}
	err = k.Webhooks.Replay(v.Context(), v.tenant.ID, v.id(), v.who.Subject, sequence)
	return v.to("webhooks/" + v.id() + "?done=sending"), err
}
