package usher

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// plainEvery is how often progress is told where nobody looks at a terminal.
const plainEvery = 10 * time.Second

// progress shows how far a command has come: a bar on a terminal, else a line now and then.
type progress struct {
	out         io.Writer
	what, unit  string
	total, done int64 // total is 0 where it is not known
	bar         *progressbar.ProgressBar
	began, told time.Time
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// newProgress shows progress on out, which is standard error so that results can be piped.
func newProgress(out io.Writer, what, unit string, total int64) *progress {
	p := &progress{out: out, what: what, unit: unit, total: total, began: time.Now(), told: time.Now()}
	if isTerminal(out) {
		most := total
		if total == 0 {
			most = -1
		}
		p.bar = progressbar.NewOptions64(most, progressbar.OptionSetWriter(out), progressbar.OptionSetWidth(24), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return p
}

// add counts n more.
func (p *progress) add(n int64) {
	p.done += n
	if p.bar != nil {
		_ = p.bar.Add64(n)
		return
	}
	if time.Since(p.told) < plainEvery {
		return
	}
	p.told = time.Now()
	rate := float64(p.done) / time.Since(p.began).Seconds()
	if p.total == 0 {
		fmt.Fprintf(p.out, "%s: %d %s, %.0f/s\n", p.what, p.done, p.unit, rate)
		return
	}
	left := time.Duration(float64(p.total-p.done) / max(rate, 0.001) * float64(time.Second))
	fmt.Fprintf(p.out, "%s: %d of %d %s, %.0f/s, %v left\n", p.what, p.done, p.total, p.unit, rate, left.Round(time.Second))
}

// say tells something besides.
func (p *progress) say(text string) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintln(p.out, p.what+": "+text)
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
