package store

import (
	"context"
	"sync"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// monitor makes a span of every command, under the caller's (OpenTelemetry semantic conventions
// for MongoDB clients, v1.43). A span names the command and the collection, never a value.
func monitor(provider trace.TracerProvider) *event.CommandMonitor {
	if provider == nil {
		return nil
	}
	tracer := provider.Tracer("github.com/usherhq/usher/pkg/store")
	var open sync.Map // request id to span
	end := func(request int64, failure error) {
		s, ok := open.LoadAndDelete(request)
		if !ok {
			return
		}
		if failure != nil {
			s.(trace.Span).SetStatus(codes.Error, reason(failure))
			s.(trace.Span).SetAttributes(attribute.String("error.type", reason(failure)))
		}
		s.(trace.Span).End()
	}
	return &event.CommandMonitor{
		Started: func(ctx context.Context, e *event.CommandStartedEvent) {
			name, attributes := e.CommandName, []attribute.KeyValue{
				attribute.String("db.system.name", "mongodb"), attribute.String("db.namespace", e.DatabaseName),
				attribute.String("db.operation.name", e.CommandName)}
			if collection := collectionOf(e); collection != "" {
				name += " " + collection
				attributes = append(attributes, attribute.String("db.collection.name", collection))
			}
			_, s := tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
			open.Store(e.RequestID, s)
		},
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) { end(e.RequestID, nil) },
		Failed:    func(_ context.Context, e *event.CommandFailedEvent) { end(e.RequestID, e.Failure) },
	}
}

// collectionOf returns the collection of a command, "" where it has none.
func collectionOf(e *event.CommandStartedEvent) string {
	key := e.CommandName
	if key == "getMore" {
		key = "collection"
	}
	name, _ := e.Command.Lookup(key).StringValueOK()
	return name
}

// reason says why a command failed without the server's words, which quote values.
func reason(failure error) string {
	switch {
	case mongo.IsTimeout(failure):
		return "timeout"
	case mongo.IsNetworkError(failure):
		return "network"
	}
	return "refused"
}
