package app

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	health := &Health{}
	server := httptest.NewServer(health)
	defer server.Close()
	getenv := func(string) string { return strings.TrimPrefix(server.URL, "http://") }
	if err := Probe(getenv); err != nil {
		t.Errorf("a service that is ready: %v", err)
	}
	health.Add("validator", func() error { return errors.New("the broker is not connected") })
	if err := Probe(getenv); err == nil || !strings.Contains(err.Error(), "validator: the broker is not connected") {
		t.Errorf("a service that is not ready: %v", err)
	}
	server.Close()
	if err := Probe(getenv); err == nil {
		t.Error("nobody listens, and the service is healthy")
	}
	if err := Probe(func(string) string { return "" }); err == nil || !strings.Contains(err.Error(), "OPS_ADDR") {
		t.Errorf("without an address: %v", err)
	}
}
