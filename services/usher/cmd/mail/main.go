// Command mail is a mail server for a trial: it takes every mail, sends none, and shows them at
// /dev/mail?to=ADDRESS.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/services/usher/mailsink"
)

func main() {
	smtp := flag.String("smtp", "127.0.0.1:1025", "where mail is taken")
	address := flag.String("http", "127.0.0.1:8025", "where it is shown")
	dir := flag.String("data", "./mail", "where it is kept")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *smtp, *address, *dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, smtp, address, dir string) error {
	sink, err := mailsink.StartOn(smtp, dir)
	if err != nil {
		return err
	}
	defer sink.Close()
	mux := http.NewServeMux()
	mux.Handle("GET /dev/mail", sink)
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	return app.Serve(ctx, address, mux)
}
