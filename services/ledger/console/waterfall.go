package console

import (
	"math"
	"time"
)

// The drawing's own units: it is as wide as the page lets it.
const (
	barsWidth  = 1000.0
	leastWidth = 4.0
)

// waterfall are the steps of a registration, each from the end of the one before to its own. The
// lengths are logarithmic, since stages take milliseconds and persons days.
type waterfall struct {
	Rows  []bar
	Total time.Duration
}

type bar struct {
	Step
	Since time.Duration // of the receipt
	Took  time.Duration // since the step before
	X, W  float64
}

func waterfallOf(steps []Step) waterfall {
	var w waterfall
	total := 0.0
	for i, s := range steps {
		b := bar{Step: s, Since: s.At.Sub(steps[0].At)}
		if i > 0 {
			b.Took = max(0, s.At.Sub(steps[i-1].At))
			b.W = math.Log1p(float64(b.Took) / float64(time.Millisecond))
		}
		b.X = total
		total += b.W
		w.Rows = append(w.Rows, b)
		w.Total = max(w.Total, b.Since)
	}
	for i := range w.Rows {
		b := &w.Rows[i]
		if total > 0 {
			b.X, b.W = b.X/total*(barsWidth-leastWidth), b.W/total*(barsWidth-leastWidth)
		}
		b.W = max(b.W, leastWidth)
	}
	return w
}
