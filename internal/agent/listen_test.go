package agent

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// brief opens wake channels that last for so long.
type brief struct {
	gateway
	lasts time.Duration
	n     int
}

func (b *brief) Wake(ctx context.Context, on func(wire.Wake)) error {
	b.n++
	on(wire.Wake{Kind: "hello"})
	if b.lasts > 2*time.Minute {
		pause(ctx, 2*time.Minute)
		on(wire.Wake{Kind: "ping"})
	}
	pause(ctx, b.lasts)
	return fault.New(fault.Unavailable, "the channel ended")
}

// TestWakeChannelsThatEndAtOnce: a server that closes each channel, or a copy of
// this machine that takes it over, does not make it come back each second for
// ever; after a channel that lasted it is back soon.
func TestWakeChannelsThatEndAtOnce(t *testing.T) {
	for lasts, most := range map[time.Duration]int{time.Millisecond: 30, 30 * time.Minute: 3} {
		synctest.Test(t, func(t *testing.T) {
			b := &brief{lasts: lasts}
			a := &Agent{log: slog.New(slog.DiscardHandler), gate: b, hurry: make(chan struct{}, 1)}
			ctx, stop := context.WithTimeout(t.Context(), time.Hour)
			defer stop()
			check(t, a.listen(ctx))
			if b.n < 2 || b.n > most {
				t.Errorf("channels of %v: %d within an hour", lasts, b.n)
			}
		})
	}
}

// fleeting opens channels that end for all at the same moment, and notes when
// each agent is back.
type fleeting struct {
	gateway
	cut  time.Time
	back []time.Time
}

func (f *fleeting) Wake(ctx context.Context, on func(wire.Wake)) error {
	on(wire.Wake{Kind: "hello"})
	if now := time.Now(); now.Before(f.cut) {
		pause(ctx, f.cut.Sub(now))
	} else {
		f.back = append(f.back, now)
		<-ctx.Done()
	}
	return fault.New(fault.Unavailable, "the channel ended")
}

// TestFleetComesBackSpread: after a network that was away for a moment the fleet
// does not come back in one moment.
func TestFleetComesBackSpread(t *testing.T) {
	var back []time.Duration
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			f := &fleeting{cut: time.Now().Add(time.Hour)}
			a := &Agent{log: slog.New(slog.DiscardHandler), gate: f, hurry: make(chan struct{}, 1)}
			ctx, stop := context.WithTimeout(t.Context(), 2*time.Hour)
			defer stop()
			check(t, a.listen(ctx))
			if len(f.back) != 1 {
				t.Fatalf("back %d times", len(f.back))
			}
			back = append(back, f.back[0].Sub(f.cut))
		})
	}
	if first, last := slices.Min(back), slices.Max(back); last-first < 5*time.Second || last > returnSpread {
		t.Errorf("fifty machines come back between %v and %v", first, last)
	}
}
