package bench

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// How long the idle agent and its unchanged check-ins are watched.
const (
	idleFor    = 60 * time.Second
	trafficFor = 55 * time.Second
)

// agentAndServer measures the two together and each alone.
func agentAndServer(t *testing.T, b *table, p publication) {
	w := newWorld(t, p)
	t.Run("idle", func(t *testing.T) { idle(t, b, w) })
	t.Run("traffic", func(t *testing.T) { traffic(t, b, w) })
	f := seed(t, w)
	t.Run("restart", func(t *testing.T) { restart(t, b, w, f) })
	t.Run("load", func(t *testing.T) { load(t, b, w, f) })
}

// idle watches an agent that is connected, has nothing to do and holds its wake
// channel.
func idle(t *testing.T, b *table, w *world) {
	stop := w.serve(t, "8h", nil)
	p := w.runAgent(t)
	wait(t, 10*time.Second) // what the first report left to do
	first := look(t, p.pid)
	var rss, private []int64
	for end := time.Now().Add(idleFor); time.Now().Before(end); wait(t, time.Second) {
		v := look(t, p.pid)
		rss, private = append(rss, v.rss), append(private, v.private)
	}
	last := look(t, p.pid)
	life := p.stop(t)
	stop()
	m := median(rss)
	b.judge("idle connected agent, RSS", fmt.Sprintf("%s (highest %s, private %s)", mib(m), mib(rss[len(rss)-1]), mib(median(private))),
		"", "", "< 12 MiB", rss[len(rss)-1] < 12<<20)
	spent := last.cpu - first.cpu
	b.judge(fmt.Sprintf("idle connected agent, CPU in %s", idleFor), fmt.Sprintf("%s (%d wake-ups)", ms(spent), last.switches-first.switches),
		"", "", "none (< 0.05 %)", spent < idleFor/2000)
	b.add("agent and its children from start to idle: sync, scan, report", fmt.Sprintf("%s CPU, %s peak of the largest process", ms(life.CPU), mib(life.Peak)), "", "")
}

// wait lets real time pass for real processes.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

// relay is a TCP proxy that counts what passes.
type relay struct {
	listener net.Listener
	to       string
	up, down atomic.Int64
	open     sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, to: to}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			r.open.Go(func() { pump(s, c, &r.up) })
			r.open.Go(func() { pump(c, s, &r.down) })
		}
	}()
	t.Cleanup(func() { l.Close() })
	return r
}

// pump copies one direction, counts it, and ends both when either side ends.
func pump(to, from net.Conn, n *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		k, err := from.Read(buf)
		n.Add(int64(k))
		if _, werr := to.Write(buf[:k]); err != nil || werr != nil {
			return
		}
	}
}

// burst is what passed between two silences.
type burst struct{ up, down int64 }

// bursts watches the relay: each check-in is one, with silence around it. It
// calls glance again and again.
func (r *relay) bursts(t *testing.T, d time.Duration, glance func()) (all []burst) {
	t.Helper()
	const silence = 2 * time.Second
	begin := burst{r.up.Load(), r.down.Load()}
	now, since := begin, time.Now()
	for end := time.Now().Add(d); time.Now().Before(end); wait(t, 20*time.Millisecond) {
		glance()
		next := burst{r.up.Load(), r.down.Load()}
		if next != now {
			now, since = next, time.Now()
		}
		if now != begin && time.Since(since) > silence {
			all = append(all, burst{now.up - begin.up, now.down - begin.down})
			begin = now
		}
	}
	return all
}

// traffic counts bytes of the real agent's unchanged check-ins, TLS and HTTP/2
// included. The server asks for one each ten seconds, the shortest interval
// that an agent accepts.
func traffic(t *testing.T, b *table, w *world) {
	stop := w.serve(t, "10s", nil)
	defer stop()
	r := newRelay(t, w.agents)
	w.redirect(t, r.listener.Addr().String())
	p := w.runAgent(t)
	wait(t, 5*time.Second)
	b.add("new connection: handshake, wake channel and first check-in", fmt.Sprintf("%d bytes up, %d down", r.up.Load(), r.down.Load()), "", "")
	before, highest := look(t, p.pid), int64(0)
	all := r.bursts(t, trafficFor, func() { highest = max(highest, look(t, p.pid).rss) })
	spent := look(t, p.pid).cpu - before.cpu
	p.stop(t)
	if len(all) < 3 {
		t.Fatalf("only %d check-ins seen: %v", len(all), all)
	}
	up, down := make([]int64, 0, len(all)), make([]int64, 0, len(all))
	for _, x := range all {
		up, down = append(up, x.up), append(down, x.down)
	}
	u, d := median(up), median(down)
	b.judge(fmt.Sprintf("unchanged check-in on the wire, TLS included (%d seen)", len(all)), fmt.Sprintf("%d bytes up, %d down", u, d), "", "",
		"< 1 KB each way", u < 1000 && d < 1000)
	b.add("agent that checks in every ten seconds", fmt.Sprintf("%s highest RSS, %s CPU for a check-in", mib(highest), ms(spent/time.Duration(len(all)))), "", "")
	w.redirect(t, w.agents)
}
