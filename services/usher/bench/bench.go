// Package bench measures a whole pipeline with its load on the same machine, each figure
// beside a reference of the same run: absolute numbers of a shared machine mean little.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/usherhq/usher/pkg/freeport"
)

// Options say what is measured and how long.
type Options struct {
	Store   string  // MongoDB URL; "" measures the embedded store
	Scale   float64 // multiplies every count
	Clients int
	Profile string    // directory for processor profiles; "" takes none
	Err     io.Writer // progress
	// NoOp starts the reference server of ServeNoOp on an address in a process of its own.
	NoOp func(addr string) (stop func(), err error)
}

// run is one measurement under way.
type run struct {
	Options
	bin, dir string
	load     *load
	report   *Report
	noOp     float64 // requests a second, measured last
}

// Run measures everything and returns the report, with what was measured until an error.
func Run(ctx context.Context, o Options) (*Report, error) {
	dir, err := os.MkdirTemp("", "usher-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &run{Options: o, dir: dir, bin: filepath.Join(dir, "bin"), load: newLoad(o.Clients), report: newReport(o)}
	fmt.Fprintln(o.Err, "building the binaries")
	if err := binaries(ctx, r.bin); err != nil {
		return r.report, err
	}
	for _, part := range []func(context.Context) error{r.intakeAndPipeline, r.stagesStopped, r.realHash} {
		if err := part(ctx); err != nil {
			return r.report, err
		}
	}
	return r.report, nil
}

func (r *run) count(n int64) int64 { return max(int64(float64(n)*r.Scale), 20) }

func (r *run) add(rows ...Row) { r.report.Rows = append(r.report.Rows, rows...) }

// step shows the progress of n things.
func (r *run) step(what string, n int64) (progress func(int64), done func()) {
	bar := progressbar.NewOptions64(n, progressbar.OptionSetWriter(r.Err), progressbar.OptionSetDescription(fmt.Sprintf("%-34s", what)),
		progressbar.OptionShowCount(), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionSetWidth(24))
	return func(i int64) { _ = bar.Set64(min(i, n)) }, func() { _ = bar.Finish(); fmt.Fprintln(r.Err) }
}

// reference measures the no-op server: requests a second.
func (r *run) reference(ctx context.Context) error {
	addr, err := freeport.Address()
	if err != nil {
		return err
	}
	stop, err := r.NoOp(addr)
	if err != nil {
		return err
	}
	defer stop()
	if err := awaitReady(ctx, "http://"+addr+"/", &child{ended: make(chan struct{})}); err != nil {
		return err
	}
	n := r.count(20_000)
	progress, done := r.step("reference: JSON decode only", n)
	defer done()
	if _, err := r.load.accept(ctx, addr, n/10, func(int64) {}); err != nil {
		return err
	}
	took, err := r.load.accept(ctx, addr, n, progress)
	r.noOp = float64(n) / took.Seconds()
	return err
}

// intakeAndPipeline measures one process with the cheapest hash: intake while all stages work,
// the whole way, status reads, memory and restart.
func (r *run) intakeAndPipeline(ctx context.Context) (err error) {
	if err := r.reference(ctx); err != nil {
		return err
	}
	s, err := oneProcess(ctx, r.bin, filepath.Join(r.dir, "one"), r.Store, cheapest...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	sent := int64(0)
	submit := func(what string, n int64) (accepted, complete time.Duration, err error) {
		progress, done := r.step(what+": accepted", n)
		started := time.Now()
		accepted, err = r.load.accept(ctx, s.gateway, n, progress)
		done()
		if err != nil {
			return 0, 0, err
		}
		before := sent
		sent += n
		progress, done = r.step(what+": mails sent", n)
		defer done()
		err = s.drained(ctx, sent, func(i int64) { progress(i - before) })
		return accepted, time.Since(started), err
	}
	if _, _, err := submit("warm-up", r.count(1000)); err != nil {
		return err
	}
	n := r.count(15_000)
	profiled := r.profile("one-process", s.ops)
	accepted, complete, err := submit("one process", n)
	if err := errors.Join(err, <-profiled); err != nil {
		return err
	}
	r.add(Row{Name: "accepted, stages running", Value: float64(n) / accepted.Seconds(), Unit: "registrations/s"}.ratioTo("JSON decode only, requests/s", r.noOp, 0.35))
	whole := Row{Name: "complete, cheapest hash", Value: float64(n) / complete.Seconds(), Unit: "registrations/s"}
	r.add(whole.held(whole.Value >= 1000, "≥ 1000"))
	if err := r.statusReads(s); err != nil {
		return err
	}
	sent += r.count(2000)
	if err := s.drained(ctx, sent, func(int64) {}); err != nil {
		return err
	}
	if rest := r.count(100_000) - sent; rest > 0 {
		if _, _, err := submit("the rest of 100,000", rest); err != nil {
			return err
		}
	}
	return r.memoryAndRestart(ctx, s, sent)
}

// profile keeps a processor profile of the next seconds, where profiles are asked for.
func (r *run) profile(name, addr string) <-chan error {
	done := make(chan error, 1)
	if r.Profile == "" {
		done <- nil
		return done
	}
	go func() {
		response, err := http.Get("http://" + addr + "/debug/pprof/profile?seconds=10")
		if err != nil {
			done <- fmt.Errorf("profile %s: %w", name, err)
			return
		}
		defer response.Body.Close()
		raw, err := io.ReadAll(response.Body)
		done <- errors.Join(err, os.WriteFile(filepath.Join(r.Profile, name+".pprof"), raw, 0o644))
	}()
	return done
}

func (r *run) statusReads(s *system) error {
	n := r.count(2000)
	progress, done := r.step("status after 202", n)
	defer done()
	times, missing, err := r.load.statusAfterReceipt(s.gateway, n, progress)
	if err != nil {
		return err
	}
	absent := Row{Name: "status after 202: not found", Value: float64(missing), Unit: "of all"}
	slow := Row{Name: "status after 202: p99", Value: milliseconds(quantile(times, 0.99)), Unit: "ms"}
	r.add(absent.held(missing == 0, "0"), slow.held(slow.Value <= 10, "≤ 10 ms"))
	return nil
}

// memoryAndRestart measures the idle process that holds all registrations, stops it in order
// and times it until it takes the next.
func (r *run) memoryAndRestart(ctx context.Context, s *system, stored int64) error {
	fmt.Fprintln(r.Err, "idle for 10 s")
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Second):
	}
	mib, err := s.children[0].memory()
	if err != nil {
		return err
	}
	memory := Row{Name: fmt.Sprintf("memory with %d registrations", stored), Value: mib, Unit: "MiB"}
	r.add(memory.held(mib <= 450, "≤ 450 MiB"))
	s.watch.Close()
	started := time.Now()
	if err := s.children[0].stop(); err != nil {
		return err
	}
	if err := s.resume(ctx); err != nil {
		return err
	}
	if _, err := r.load.accept(ctx, s.gateway, 1, func(int64) {}); err != nil {
		return err
	}
	restart := Row{Name: "stop, start, first accepted", Value: time.Since(started).Seconds(), Unit: "s"}
	r.add(restart.held(restart.Value <= 5, "≤ 5 s"))
	return nil
}

// stagesStopped measures separate processes: the processor time of each for a registration,
// then intake alone, with every other service stopped.
func (r *run) stagesStopped(ctx context.Context) (err error) {
	if err := r.reference(ctx); err != nil {
		return err
	}
	s, err := separateProcesses(ctx, r.bin, filepath.Join(r.dir, "separate"), r.Store, cheapest...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	n := r.count(10_000)
	before := map[string]time.Duration{}
	for _, c := range s.children {
		if before[c.name], err = c.cpu(); err != nil {
			return err
		}
	}
	var profiled []<-chan error
	for _, c := range s.children {
		profiled = append(profiled, r.profile(c.name, c.ops))
	}
	progress, done := r.step("separate processes: accepted", n)
	started := time.Now()
	_, err = r.load.accept(ctx, s.gateway, n, progress)
	done()
	if err != nil {
		return err
	}
	progress, done = r.step("separate processes: mails sent", n)
	err = s.drained(ctx, n, progress)
	done()
	if err != nil {
		return err
	}
	r.add(Row{Name: "complete, separate processes", Value: float64(n) / time.Since(started).Seconds(), Unit: "registrations/s"})
	for _, p := range profiled {
		if err := <-p; err != nil {
			return err
		}
	}
	if err := r.budget(s, before, n); err != nil {
		return err
	}
	if err := s.stopStages(); err != nil {
		return err
	}
	progress, done = r.step("intake alone", n)
	defer done()
	took, err := r.load.accept(ctx, s.gateway, n, progress)
	if err != nil {
		return err
	}
	r.add(Row{Name: "accepted, stages stopped", Value: float64(n) / took.Seconds(), Unit: "registrations/s"}.ratioTo("JSON decode only, requests/s", r.noOp, 0.5))
	return nil
}

// budget tells the processor time of each process for one registration.
func (r *run) budget(s *system, before map[string]time.Duration, n int64) error {
	var total time.Duration
	for _, c := range s.children {
		used, err := c.cpu()
		if err != nil {
			return err
		}
		used -= before[c.name]
		total += used
		r.add(Row{Name: "processor time, " + c.name, Value: float64(used.Microseconds()) / float64(n), Unit: "µs/registration"})
	}
	sum := Row{Name: "processor time, all", Value: float64(total.Microseconds()) / float64(n), Unit: "µs/registration"}
	r.add(sum.held(sum.Value <= 1300, "≤ 1300"))
	return nil
}

// realHash measures one process with the default hash.
func (r *run) realHash(ctx context.Context) (err error) {
	fmt.Fprintln(r.Err, "reference: argon2id alone")
	rate, single := hashRate(time.Duration(float64(6*time.Second)*min(max(r.Scale, 0.3), 1))), hashTime()
	s, err := oneProcess(ctx, r.bin, filepath.Join(r.dir, "hash"), r.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	n := r.count(50)
	progress, done := r.step("synchronous, idle", n)
	times, id, err := r.load.synchronous(s.gateway, n, progress)
	done()
	if err != nil {
		return err
	}
	call := Row{Name: "synchronous answer, idle: p50", Value: milliseconds(quantile(times, 0.5)), Unit: "ms", Reference: "one hash, ms", Against: milliseconds(single)}
	r.add(call.held(call.Value <= call.Against+30, "≤ reference + 30 ms"))
	if err := s.drained(ctx, n, func(int64) {}); err != nil {
		return err
	}
	m := r.count(600)
	started := time.Now()
	if _, err := r.load.accept(ctx, s.gateway, m, func(int64) {}); err != nil {
		return err
	}
	waited, err := r.load.wrongCode(s.gateway, id)
	if err != nil {
		return err
	}
	code := Row{Name: fmt.Sprintf("activation while %d hashes wait", m), Value: milliseconds(waited), Unit: "ms"}
	r.add(code.held(code.Value <= 1000, "≤ 1000 ms"))
	progress, done = r.step("argon2id: mails sent", m)
	err = s.drained(ctx, n+m, func(i int64) { progress(i - n) })
	done()
	if err != nil {
		return err
	}
	took := time.Since(started)
	after := hashRate(time.Duration(float64(6*time.Second) * min(max(r.Scale, 0.3), 1)))
	r.add(Row{Name: "complete, argon2id 19 MiB t=2", Value: float64(m) / took.Seconds(), Unit: "registrations/s"}.ratioTo("hashes/s of both cores alone", (rate+after)/2, 0.9))
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
