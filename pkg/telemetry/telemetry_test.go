package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	collectlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/usherhq/usher/events"
)

// collector is an OTLP/HTTP receiver (OpenTelemetry protocol specification 1.7, protobuf).
type collector struct {
	*httptest.Server
	mu       sync.Mutex
	services map[string]bool // by "signal service"
	names    map[string]bool // of spans, metrics and log messages
	traces   map[string]bool // ids of spans, and of logs with the prefix "log "
	raw      bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{services: map[string]bool{}, names: map[string]bool{}, traces: map[string]bool{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.receive(r); err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) receive(r *http.Request) error {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			return err
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(raw)
	switch r.URL.Path {
	case "/v1/traces":
		return c.receiveTraces(raw)
	case "/v1/metrics":
		return c.receiveMetrics(raw)
	}
	return c.receiveLogs(raw)
}

func (c *collector) receiveTraces(raw []byte) error {
	var m collecttrace.ExportTraceServiceRequest
	err := proto.Unmarshal(raw, &m)
	for _, r := range m.ResourceSpans {
		c.services["traces "+serviceName(r.Resource.Attributes)] = true
		for _, s := range r.ScopeSpans {
			for _, span := range s.Spans {
				c.names[span.Name], c.traces[string(span.TraceId)] = true, true
			}
		}
	}
	return err
}

func (c *collector) receiveMetrics(raw []byte) error {
	var m collectmetrics.ExportMetricsServiceRequest
	err := proto.Unmarshal(raw, &m)
	for _, r := range m.ResourceMetrics {
		c.services["metrics "+serviceName(r.Resource.Attributes)] = true
		for _, s := range r.ScopeMetrics {
			for _, metric := range s.Metrics {
				c.names[metric.Name] = true
			}
		}
	}
	return err
}

func (c *collector) receiveLogs(raw []byte) error {
	var m collectlogs.ExportLogsServiceRequest
	err := proto.Unmarshal(raw, &m)
	for _, r := range m.ResourceLogs {
		c.services["logs "+serviceName(r.Resource.Attributes)] = true
		for _, s := range r.ScopeLogs {
			for _, record := range s.LogRecords {
				c.names[record.Body.GetStringValue()], c.traces["log "+string(record.TraceId)] = true, true
			}
		}
	}
	return err
}

func serviceName(attributes []*common.KeyValue) string {
	for _, a := range attributes {
		if a.Key == "service.name" {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// settings are an environment; the exporters read the process's own.
func settings(t *testing.T, endpoint string) func(string) string {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	return func(name string) string {
		return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "LOG_FORMAT": "json"}[name]
	}
}

func TestTracesMetricsAndLogsReachACollectorWithoutPersonalData(t *testing.T) {
	c := newCollector(t)
	var printed bytes.Buffer
	about, err := New(t.Context(), Options{Service: "validator", Getenv: settings(t, c.URL), Output: &printed})
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := about.Tracer.Tracer("test").Start(t.Context(), "a span")
	counter, err := about.Meter.Meter("test").Int64Counter("a.counter")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 3)
	person := events.Registration{Applicant: events.Applicant{GivenName: "Kanarienvogel", Email: "kanarienvogel@example.com"}}
	about.Logger.WarnContext(ctx, "a message", "registration", person)
	span.End()
	about.Shutdown(t.Context())

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, signal := range []string{"traces", "metrics", "logs"} {
		if !c.services[signal+" validator"] {
			t.Errorf("no %s of the service arrived: %v", signal, c.services)
		}
	}
	for _, name := range []string{"a span", "a.counter", "a message"} {
		if !c.names[name] {
			t.Errorf("%q did not arrive", name)
		}
	}
	id := span.SpanContext().TraceID()
	if !c.traces[string(id[:])] || !c.traces["log "+string(id[:])] {
		t.Error("the span or the log lacks the trace")
	}
	if strings.Contains(c.raw.String()+printed.String(), "anarienvogel") {
		t.Error("personal data was reported")
	}
	if !strings.Contains(printed.String(), `"msg":"a message"`) {
		t.Errorf("printed %s", printed.String())
	}
}

func TestACollectorThatDoesNotAnswerStopsNobody(t *testing.T) {
	hanging := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hanging:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(hanging)
	for name, endpoint := range map[string]string{"it hangs": server.URL, "it is not there": "http://127.0.0.1:1"} {
		t.Run(name, func(t *testing.T) {
			about, err := New(t.Context(), Options{Service: "risk", Getenv: settings(t, endpoint), Output: io.Discard})
			if err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				_, span := about.Tracer.Tracer("test").Start(t.Context(), "a span")
				about.Logger.Info("a message")
				span.End()
			}
			ended := make(chan struct{})
			go func() { about.Shutdown(context.Background()); close(ended) }()
			select {
			case <-ended:
			case <-time.After(10 * shutdownTime):
				t.Fatal("the end waits for the collector")
			}
		})
	}
}

func TestWithoutACollectorATraceHasItsIdAndMetricsAreServed(t *testing.T) {
	about, err := New(t.Context(), Options{Service: "ledger", Getenv: func(string) string { return "" }, Output: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer about.Shutdown(t.Context())
	_, span := about.Tracer.Tracer("test").Start(t.Context(), "a span")
	if !span.SpanContext().TraceID().IsValid() || span.IsRecording() {
		t.Error("a trace needs its id, and nothing else")
	}
	counter, err := about.Meter.Meter("test").Int64Counter("a.counter")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3)
	if n, err := testutil.GatherAndCount(about.Gatherer, "a_counter_total"); n != 1 || err != nil {
		t.Errorf("the counter is served %d times, %v", n, err)
	}
}

func TestALogLevelThatIsNoneIsNamed(t *testing.T) {
	_, err := New(t.Context(), Options{Service: "x", Getenv: func(name string) string { return map[string]string{"LOG_LEVEL": "loud"}[name] }, Output: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "LOG_LEVEL") {
		t.Errorf("got %v", err)
	}
}
