package gateway_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/wire"
)

// BenchmarkWakeChannels reports the memory of one idle wake channel, both ends
// together, and how long it takes to reach all of them.
func BenchmarkWakeChannels(b *testing.B) {
	const channels = 1000
	w := newWorld(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var lines []<-chan wire.Wake
	token := w.token("acme", channels)
	for i := range channels {
		a := w.admit("acme", estate.EndpointID(fmt.Sprint("e", i)), token)
		lines = append(lines, a.listen(ctx))
	}
	for _, l := range lines {
		<-l
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		began := time.Now()
		w.gw.WakeAll("", 0)
		for _, l := range lines {
			<-l
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/channels, "us/wake")
	}
	b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/channels, "B/channel")
}
