package webhooks

import "context"

// shareOf returns the places of a tenant's requests. One is taken before one of slots.
func (d *Dispatcher) shareOf(tenant string) chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shares[tenant] == nil {
		d.shares[tenant] = make(chan struct{}, mostOfTenant)
	}
	return d.shares[tenant]
}

// enter takes a place, or reports that ctx has ended before.
func enter(ctx context.Context, places chan<- struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	default:
	}
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// tryEnter takes the places of a request to a tenant's receiver until leave, unless there are none now.
func (d *Dispatcher) tryEnter(tenant string) (leave func(), ok bool) {
	share := d.shareOf(tenant)
	select {
	case share <- struct{}{}:
	default:
		return nil, false
	}
	select {
	case d.slots <- struct{}{}:
		return func() { <-d.slots; <-share }, true
	default:
		<-share
		return nil, false
	}
}
