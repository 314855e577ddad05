package gateway

import (
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traced makes a span and a measurement of every request (OpenTelemetry semantic conventions for
// HTTP servers, v1.43). Of what the client sends only the method is told, if it is a known one:
// paths, addresses and user agents are personal data, and a client could make labels without end.
func (g *gateway) traced(next http.Handler) http.Handler {
	tracer := g.env.Telemetry.Tracer.Tracer(scope)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		about := []attribute.KeyValue{attribute.String("http.request.method", methodOf(r)), attribute.String("http.route", routeOf(r))}
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, methodOf(r)+" "+routeOf(r), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(about...))
		defer span.End()
		answer := &answered{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, r.WithContext(ctx))
		status := attribute.Int("http.response.status_code", answer.status)
		span.SetAttributes(status)
		if answer.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(answer.status))
		}
		g.duration.Record(ctx, time.Since(started).Seconds(), metric.WithAttributes(append(about, status)...))
	})
}

const scope = "github.com/usherhq/usher/services/gateway"

// newDuration is the measurement of every request.
func newDuration(p metric.MeterProvider) (metric.Float64Histogram, error) {
	return p.Meter(scope).Float64Histogram("http.server.request.duration", metric.WithUnit("s"), metric.WithDescription("time to answer a request"))
}

func methodOf(r *http.Request) string {
	if slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodOptions, http.MethodHead}, r.Method) {
		return r.Method
	}
	return "_OTHER"
}

// routeOf is the template of the path, with its variables by name.
func routeOf(r *http.Request) string {
	if route := mux.CurrentRoute(r); route != nil {
		if template, err := route.GetPathTemplate(); err == nil {
			return template
		}
	}
	return "_OTHER"
}

// answered remembers the status that was sent.
type answered struct {
	http.ResponseWriter
	status int
	sent   bool
}

func (a *answered) WriteHeader(status int) {
	if !a.sent && status >= http.StatusOK {
		a.status, a.sent = status, true
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answered) Write(p []byte) (int, error) {
	a.sent = true
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }
