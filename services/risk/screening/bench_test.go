package screening

import (
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/lists"
)

// mostMemory is what all published lists and their index may take.
const mostMemory = 150 << 20

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestThePublishedListsTakeLittleMemory(t *testing.T) {
	before := heap()
	all := publishedLists(t)
	x := NewIndex(all)
	took := heap() - before
	t.Logf("%d entries, %d names, %d words, %d deletions: %.1f MB", len(x.entries), len(x.names), len(x.vocabulary), len(x.deletions), float64(took)/(1<<20))
	if took > mostMemory {
		t.Errorf("%d bytes, want at most %d", took, mostMemory)
	}
	if len(x.entries) < 8000 || len(x.names) < 20000 {
		t.Errorf("only %d entries with %d names", len(x.entries), len(x.names))
	}
	runtime.KeepAlive(all)
}

func BenchmarkLoadAndIndex(b *testing.B) {
	publishedLists(b)
	for b.Loop() {
		all, err := lists.Load(os.Getenv("USHER_SCREENING_LISTS"))
		if err != nil {
			b.Fatal(err)
		}
		NewIndex(all)
	}
}

// BenchmarkScreen asks for ordinary and listed names in turn and reports percentiles of one query.
func BenchmarkScreen(b *testing.B) {
	all := publishedLists(b)
	x := NewIndex(all)
	names := ordinary(2000)
	for i, s := range individuals(all) {
		if i%7 == 0 {
			names = append(names, s.name.Text)
		}
	}
	times := make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		start := time.Now()
		x.Screen(Person{Names: []string{names[i*37%len(names)]}, Kind: lists.Individual, BirthDate: "1970-01-01", Nationalities: []string{"IQ"}}, Threshold)
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(times[len(times)-1].Microseconds()), "max-µs")
}
