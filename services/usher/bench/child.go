package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a process under measurement.
type child struct {
	name    string
	ops     string // where it can be profiled; "" where it cannot
	command *exec.Cmd
	ended   chan struct{}
}

func start(name, logs string, env []string, binary string, args ...string) (*child, error) {
	log, err := os.OpenFile(filepath.Join(logs, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	defer log.Close()
	c := &child{name: name, command: exec.Command(binary, args...), ended: make(chan struct{})}
	c.command.Env = append(os.Environ(), env...)
	c.command.Stdout, c.command.Stderr = log, log
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { _ = c.command.Wait(); close(c.ended) }()
	return c, nil
}

// stop asks the process to end in order; it is killed when it has not after 30 s.
func (c *child) stop() error {
	_ = c.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
		return nil
	case <-time.After(30 * time.Second):
		_ = c.command.Process.Kill()
		<-c.ended
		return fmt.Errorf("%s did not stop within 30 s", c.name)
	}
}

// ticksPerSecond is the unit of CPU times in /proc (proc(5), sysconf(_SC_CLK_TCK) on Linux).
const ticksPerSecond = 100

// cpu is the processor time the process has used so far (proc(5), fields 14 and 15 of stat).
func (c *child) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.command.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time of %s: %w", c.name, err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, errors.New("read processor time: unknown form of /proc/PID/stat")
	}
	user, errUser := strconv.Atoi(fields[11])
	system, errSystem := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / ticksPerSecond, errors.Join(errUser, errSystem)
}

// memory is the resident size in MiB (proc(5), VmRSS).
func (c *child) memory() (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.command.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read memory of %s: %w", c.name, err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			return float64(kib) / 1024, err
		}
	}
	return 0, errors.New("read memory: no VmRSS in /proc/PID/status")
}
