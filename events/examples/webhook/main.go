// Command webhook takes a tenant's events as webhooks (https://www.standardwebhooks.com), and prints
// those that are signed, a line for each event.
//
//	WEBHOOK_SECRET=whsec_… webhook HOST:PORT
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const largest = 1 << 20 // bytes

type receiver struct {
	verifier *webhooks.Webhook
	mu       sync.Mutex
	seen     map[string]bool // webhook-id of what was handled; a real one keeps them with what it does
}

func main() {
	verifier, err := webhooks.NewWebhook(os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(os.Args[1], &receiver{verifier: verifier, seen: map[string]bool{}}))
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, largest))
	if err != nil || r.verifier.Verify(body, q.Header) != nil {
		http.Error(w, "not signed as it should be", http.StatusUnauthorized)
		return
	}
	var event struct{ ID, Type string }
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "not an event", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if id := q.Header.Get("webhook-id"); !r.seen[id] { // it comes again where an answer was lost
		r.seen[id] = true
		fmt.Println(event.Type, event.ID)
	}
	w.WriteHeader(http.StatusNoContent)
}
