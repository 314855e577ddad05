package doctor

import (
	"context"
	"fmt"
	"strings"
)

// Parts of a disk that are free.
const (
	diskAlarm = 0.15
	diskLimit = 0.05
)

// disks looks at the disk of the embedded store.
func (e *examination) disks(context.Context) {
	dir, embedded := strings.CutPrefix(e.Getenv("STORE_URL"), "sqlite://")
	if !embedded {
		return
	}
	const check, mend = "disk of the store", "free some, or enlarge the disk: writes fail when it is full"
	free, known := freeOf(dir)
	about := fmt.Sprintf("%.0f %% free", 100*free)
	switch {
	case !known:
		e.skip(check, "the free room of "+dir+" is not known", "look at it yourself")
	case free < diskLimit:
		e.fail(check, about, mend)
	case free < diskAlarm:
		e.warn(check, about, mend)
	default:
		e.ok(check, about)
	}
}
