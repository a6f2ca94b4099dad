package gateway

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// What one endpoint may make the server keep of its inventory: bodyBurst bytes
// at once and about bodyDaily a day. A whole inventory of a large machine has
// some megabytes, and only what changes travels again.
const (
	bodyBurst = 96 << 20
	bodyDaily = 256 << 20
)

// budget bounds the bytes of bodies by endpoint, so that a hostile one that
// sends another inventory each time fills no disk.
type budget struct {
	mu  sync.Mutex
	all map[estate.EndpointID]*rate.Limiter
}

// take charges n bytes to the endpoint (Unavailable: not now).
func (b *budget) take(id estate.EndpointID, n int, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil || len(b.all) > maxAnnounced {
		b.all = map[estate.EndpointID]*rate.Limiter{}
	}
	l := b.all[id]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(bodyDaily)/rate.Limit((24*time.Hour).Seconds()), bodyBurst)
		b.all[id] = l
	}
	if !l.AllowN(now, n) {
		return fault.New(fault.Unavailable, "the machine's inventory changes too much and too often").
			WithHint("see what changes on it all the time; its last inventory counts until then")
	}
	return nil
}
