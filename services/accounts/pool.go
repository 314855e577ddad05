package accounts

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// pool bounds the hashes that are computed at once, in number and in memory. Those for whom
// somebody waits at a browser come first; otherwise the order is that of their arrival. What needs
// more memory than there is has the pool for itself. Safe for concurrent use.
type pool struct {
	most, memory int // of hashes, of bytes

	mu      sync.Mutex
	running int
	used    int // bytes of the running hashes
	garbage int // bytes that ended hashes left and nobody has collected yet
	urgent  []*turn
	patient []*turn
}

// turn is a hash that waits.
type turn struct {
	bytes int
	comes chan struct{} // closed when it may begin
}

func newPool(most, memory int) *pool { return &pool{most: most, memory: memory} }

// do calls hash, which takes so many bytes, once its turn comes or ctx ends.
func (p *pool) do(ctx context.Context, bytes int, urgent bool, hash func()) error {
	t := p.enter(bytes, urgent)
	select {
	case <-t.comes:
	case <-ctx.Done():
		p.leave(t)
		return fmt.Errorf("wait for a hash: %w", ctx.Err())
	}
	defer p.end(t)
	hash()
	p.collect(bytes)
	return nil
}

func (p *pool) enter(bytes int, urgent bool) *turn {
	t := &turn{bytes, make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if urgent {
		p.urgent = append(p.urgent, t)
	} else {
		p.patient = append(p.patient, t)
	}
	p.admit()
	return t
}

// leave takes back a turn, which may have come just now.
func (p *pool) leave(t *turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-t.comes:
		p.running, p.used = p.running-1, p.used-t.bytes
	default:
		other := func(o *turn) bool { return o == t }
		p.urgent, p.patient = slices.DeleteFunc(p.urgent, other), slices.DeleteFunc(p.patient, other)
	}
	p.admit()
}

func (p *pool) end(t *turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running, p.used = p.running-1, p.used-t.bytes
	p.admit()
}

// admit lets those begin who are next and fit. Nobody overtakes who is too large for the moment.
func (p *pool) admit() {
	for {
		queue := &p.urgent
		if len(*queue) == 0 {
			queue = &p.patient
		}
		if len(*queue) == 0 {
			return
		}
		next := (*queue)[0]
		if p.running >= p.most || p.running > 0 && p.used+next.bytes > p.memory {
			return
		}
		*queue = (*queue)[1:]
		p.running, p.used = p.running+1, p.used+next.bytes
		close(next.comes)
	}
}

// mostGarbage is how many bytes of ended hashes may lie about. Go's collector alone would let them
// grow to as much as all else that the process holds, so that the pool took double its memory.
const mostGarbage = 16 << 20

// collect counts the memory of an ended hash, and collects it where there is too much.
func (p *pool) collect(bytes int) {
	p.mu.Lock()
	p.garbage += bytes
	due := p.garbage > mostGarbage
	if due {
		p.garbage = 0
	}
	p.mu.Unlock()
	if due {
		runtime.GC()
	}
}

// waiting is how many hashes wait for their turn.
func (p *pool) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.urgent) + len(p.patient)
}
