package app

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const probeTime = 3 * time.Second

// Probe asks the process that listens on OPS_ADDR of this host whether it is ready: the health check
// of an image that has nothing but the service. The error says what is not ready.
func Probe(getenv func(string) string) error {
	_, port, err := net.SplitHostPort(getenv("OPS_ADDR"))
	if err != nil {
		return errors.New("OPS_ADDR is not set to HOST:PORT, so nothing can be asked")
	}
	client := http.Client{Timeout: probeTime}
	response, err := client.Get("http://" + net.JoinHostPort("127.0.0.1", port) + "/readyz")
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		return fmt.Errorf("not ready: %s", strings.TrimSpace(string(why)))
	}
	return nil
}

// probing reports whether the process was started to ask another one, as `gateway health`.
func probing() bool { return len(os.Args) == 2 && os.Args[1] == "health" }
