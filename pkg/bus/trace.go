package bus

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/usherhq/usher/events"
)

// Names of this instrumentation and of the attributes it sets (OpenTelemetry semantic
// conventions for messaging, v1.43).
const scope = "github.com/usherhq/usher/pkg/bus"

type tracer struct {
	trace.Tracer
	service events.Service
}

func newTracer(p trace.TracerProvider, service events.Service) tracer {
	return tracer{p.Tracer(scope), service}
}

type span struct{ trace.Span }

// fail records an error that is not one of the expected ones. The text of an error never
// holds personal data.
func (s span) fail(err error, expected ...error) {
	if err == nil {
		return
	}
	for _, e := range expected {
		if errors.Is(err, e) {
			s.SetAttributes(attribute.String("usher.outcome", e.Error()))
			return
		}
	}
	s.SetStatus(codes.Error, err.Error())
}

func (t tracer) publish(ctx context.Context, s events.Subject) (context.Context, span) {
	ctx, sp := t.Start(ctx, "publish "+s.Template(), trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		append(messaging(s), attribute.String("messaging.operation.name", "publish"), attribute.String("messaging.operation.type", "send"))...))
	return ctx, span{sp}
}

// process starts the span of handling one message, as a child of the span that published it:
// the conventions allow that for single messages, and it makes a registration one trace.
func (t tracer) process(ctx context.Context, r events.Record, d *delivery) (context.Context, span) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": r.TraceParent, "tracestate": r.TraceState})
	ctx, sp := t.Start(ctx, "process "+r.Subject.Template(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		append(messaging(r.Subject),
			attribute.String("messaging.operation.name", "process"), attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.consumer.group.name", string(t.service)),
			attribute.Int64("messaging.nats.delivery_count", int64(d.attempt)))...))
	return ctx, span{sp}
}

func messaging(s events.Subject) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "nats"),
		attribute.String("messaging.destination.name", streamOf(s)),
		attribute.String("messaging.destination.template", s.Template()),
		attribute.String("messaging.message.id", s.String()),
		attribute.String("messaging.message.conversation_id", s.Registration),
	}
}

// inject returns the W3C trace context of ctx's span.
func inject(ctx context.Context) (parent, state string) {
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c["traceparent"], c["tracestate"]
}
