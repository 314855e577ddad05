// Command bench measures the pipeline on this machine and prints each figure beside its
// reference and its bar. It exits 1 where something could not be measured.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/usherhq/usher/services/usher/bench"
)

func main() {
	store := flag.String("store", "", "MongoDB URL; by default the embedded store")
	scale := flag.Float64("scale", 1, "multiplies every count")
	clients := flag.Int("clients", 64, "concurrent clients")
	file := flag.String("json", "", "file for the result as JSON")
	profile := flag.String("profile", "", "directory for processor profiles")
	noop := flag.String("serve-reference", "", "address: serve the reference there and measure nothing")
	flag.Parse()
	if *noop != "" {
		fail(bench.ServeNoOp(*noop))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := bench.Run(ctx, bench.Options{
		Store: *store, Scale: *scale, Clients: *clients, Profile: *profile, Err: os.Stderr, NoOp: bench.Again("-serve-reference"),
	})
	if report != nil {
		fail(report.Table(os.Stdout))
		if *file != "" {
			fail(report.Save(*file))
		}
	}
	fail(err)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
