package tenant

import (
	"fmt"
	"time"
)

const (
	// maxRate is more than any installation takes; with any maxAge its footprint fits an int64.
	maxRate = 100_000
	// subjectsOfOne are the subjects of a registration that is activated: one for each of its events.
	subjectsOfOne = 7
	// subjectMemory is what the broker keeps in memory for a subject of a stream, in bytes: 600,000
	// of them took 182 MB of the heap of nats-server 2.15.2.
	subjectMemory = 300
	// eventDisk is what an event takes in its stream, headers and the broker's own included, in
	// bytes: those of a native registration took 865 on the average.
	eventDisk = 1 << 10
)

// Footprint is what each broker holds when registrations come at a rate for as long as it keeps them.
// The figures are estimates; resends and reviews add to them.
type Footprint struct {
	Registrations int64 `json:"registrations"`
	Subjects      int64 `json:"subjects"`
	Memory        int64 `json:"memoryBytes"` // for the subjects
	Disk          int64 `json:"diskBytes"`   // of stream REGISTRATIONS; the tenants' feeds keep as much, for longer
}

// Footprint is that of Rate registrations per second.
func (b Broker) Footprint() Footprint {
	n := int64(b.Rate * time.Duration(b.MaxAge).Seconds())
	return Footprint{n, n * subjectsOfOne, n * subjectsOfOne * subjectMemory, n * subjectsOfOne * eventDisk}
}

// checkFootprint holds the expected rate against what the streams and the brokers have.
func (b Broker) checkFootprint(p *problems) {
	if b.Rate <= 0 || b.Rate > maxRate || b.MaxAge <= 0 {
		return
	}
	f := b.Footprint()
	p.that(b.Memory <= 0 || f.Memory <= b.Memory, "broker.memory",
		"is less than the %s that %v registrations/s take for maxAge; give the brokers more, or shorten maxAge", bytesOf(f.Memory), b.Rate)
	p.that(float64(f.Disk) <= b.HighWater*float64(b.MaxBytes), "broker.maxBytes",
		"is filled to highWater before maxAge ends: %v registrations/s take %s; give more, or shorten maxAge", b.Rate, bytesOf(f.Disk))
}

func bytesOf(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
