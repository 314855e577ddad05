// Package telemetry gives each service its own traces, metrics and logs, also where several
// run in one process. It never sets a global of OpenTelemetry.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"go.opentelemetry.io/otel/attribute"
	apimetric "go.opentelemetry.io/otel/metric"
)

// Options of New.
type Options struct {
	Service string
	// Getenv reads OTEL_EXPORTER_OTLP_ENDPOINT (unset: nothing is exported), LOG_FORMAT (json
	// or text, the default) and LOG_LEVEL (debug, info, warn, error). The exporters read the
	// other standard OTEL_ variables from the process's environment.
	Getenv func(string) string
	// SpanProcessor gets every span besides the exporter; optional, for tests.
	SpanProcessor sdktrace.SpanProcessor
	Output        io.Writer // of the logs; default standard error
}

// Telemetry is what one service reports with. Safe for concurrent use.
type Telemetry struct {
	Tracer   trace.TracerProvider
	Meter    apimetric.MeterProvider
	Logger   *slog.Logger
	Gatherer prometheus.Gatherer

	shutdown []func(context.Context) error
}

const shutdownTime = 3 * time.Second

// New sets up the telemetry of a service. Without a collector nothing is dialled.
func New(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{}
	about := resource.NewSchemaless(attribute.String("service.name", o.Service), attribute.String("service.namespace", "usher"))
	export := o.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != ""
	if err := errors.Join(t.traces(ctx, about, export, o.SpanProcessor), t.metrics(ctx, about, export, o.Service), t.logs(ctx, about, export, o)); err != nil {
		return nil, fmt.Errorf("telemetry of %s: %w", o.Service, err)
	}
	return t, nil
}

func (t *Telemetry) traces(ctx context.Context, about *resource.Resource, export bool, extra sdktrace.SpanProcessor) error {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(about)}
	if export {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return err
		}
		options = append(options, sdktrace.WithBatcher(exporter))
	}
	if extra != nil {
		options = append(options, sdktrace.WithSpanProcessor(extra))
	}
	if !export && extra == nil {
		// Ids are made and passed on, so that a registration keeps its trace id; nothing is recorded.
		options = append(options, sdktrace.WithSampler(sdktrace.NeverSample()))
	}
	provider := sdktrace.NewTracerProvider(options...)
	t.Tracer = provider
	t.shutdown = append(t.shutdown, provider.Shutdown)
	return nil
}

func (t *Telemetry) metrics(ctx context.Context, about *resource.Resource, export bool, service string) error {
	registry := prometheus.NewRegistry()
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"service": service}, registry)
	if err := errors.Join(labelled.Register(collectors.NewGoCollector()), labelled.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))); err != nil {
		return err
	}
	reader, err := promexporter.New(promexporter.WithRegisterer(labelled), promexporter.WithoutScopeInfo(), promexporter.WithoutTargetInfo())
	if err != nil {
		return err
	}
	options := []metric.Option{metric.WithResource(about), metric.WithReader(reader)}
	if export {
		exporter, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return err
		}
		options = append(options, metric.WithReader(metric.NewPeriodicReader(exporter)))
	}
	provider := metric.NewMeterProvider(options...)
	t.Meter, t.Gatherer = provider, registry
	t.shutdown = append(t.shutdown, provider.Shutdown)
	return nil
}

func (t *Telemetry) logs(ctx context.Context, about *resource.Resource, export bool, o Options) error {
	out := o.Output
	if out == nil {
		out = os.Stderr
	}
	level := slog.LevelInfo
	if l := o.Getenv("LOG_LEVEL"); l != "" {
		if err := level.UnmarshalText([]byte(l)); err != nil {
			return fmt.Errorf("LOG_LEVEL: want debug, info, warn or error")
		}
	}
	var handler slog.Handler = slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})
	if o.Getenv("LOG_FORMAT") == "json" {
		handler = slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})
	}
	if export {
		exporter, err := otlploghttp.New(ctx)
		if err != nil {
			return err
		}
		provider := log.NewLoggerProvider(log.WithResource(about), log.WithProcessor(log.NewBatchProcessor(exporter)))
		t.shutdown = append(t.shutdown, provider.Shutdown)
		handler = slog.NewMultiHandler(handler, otelslog.NewHandler(o.Service, otelslog.WithLoggerProvider(provider)))
	}
	t.Logger = slog.New(handler).With("service", o.Service)
	return nil
}

// Shutdown sends what is pending, within 3 s at most. A collector that does not answer is no
// error: the service's work does not depend on it.
func (t *Telemetry) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, shutdownTime)
	defer cancel()
	for _, stop := range t.shutdown {
		if err := stop(ctx); err != nil {
			t.Logger.Debug("telemetry not flushed", "error", err)
		}
	}
}
