package store

import (
	"context"
	"sync"

	"go.mongodb.org/mongo-driver/v2/event"
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
			s.(trace.Span).SetStatus(codes.Error, plain(failure).Error())
		}
		s.(trace.Span).End()
	}
	return &event.CommandMonitor{
		Started: func(ctx context.Context, e *event.CommandStartedEvent) {
			collection, _ := e.Command.Lookup(e.CommandName).StringValueOK()
			_, s := tracer.Start(ctx, e.CommandName+" "+collection, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
				attribute.String("db.system.name", "mongodb"), attribute.String("db.namespace", e.DatabaseName),
				attribute.String("db.operation.name", e.CommandName), attribute.String("db.collection.name", collection)))
			open.Store(e.RequestID, s)
		},
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) { end(e.RequestID, nil) },
		Failed:    func(_ context.Context, e *event.CommandFailedEvent) { end(e.RequestID, e.Failure) },
	}
}
