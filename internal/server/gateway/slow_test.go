package gateway_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/wire"
)

// dripping begins to send an inventory and never ends; it returns when the head
// has left, or was not taken.
func (a *agent) dripping(ctx context.Context, head []byte) (wait func()) {
	a.w.t.Helper()
	r, in := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://"+a.w.addr+wire.PathSection, r)
	if err != nil {
		a.w.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		resp, err := a.http.Do(req)
		if err == nil {
			_ = resp.Body.Close() // refused: there is one from it already
		}
		_ = r.CloseWithError(context.Canceled) // ends a write that is not read
	})
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = in.Write(head) // refused ones take none of it
	}()
	select {
	case <-left:
	case <-time.After(time.Second): // longer than what the server takes in one go
	}
	return wg.Wait
}

// TestTrustRow6SlowInventories: agents that send their inventory a byte now
// and then keep nobody else from sending his.
func TestTrustRow6SlowInventories(t *testing.T) {
	w := newWorld(t)
	honest := w.enrol("rival")
	ctx, stop := context.WithCancel(t.Context())
	all, _ := split(t, snapshot(3, "x"))
	whole := pack(t, encode(t, wire.Sections{Root: inventory.Root(all), Sections: all}))
	var hostile []*agent
	for range 5 {
		hostile = append(hostile, w.enrol("acme"))
	}
	var left []func()
	for _, a := range hostile {
		for range 3 { // several at once from each
			left = append(left, a.dripping(ctx, whole[:len(whole)/2]))
		}
	}
	// One is as long as only the largest inventories are.
	huge := snapshot(3, "huge")
	noise := make([]byte, 2<<20)
	_, _ = rand.Read(noise) // never fails (crypto/rand)
	huge.Packages[0].Source = hex.EncodeToString(noise)
	parts, _ := split(t, huge)
	large := pack(t, encode(t, wire.Sections{Root: inventory.Root(parts), Sections: parts}))
	left = append(left, w.enrol("acme").dripping(ctx, large[:len(large)-10]))

	within, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // the slow have five
	defer cancel()
	done := make(chan int, 1)
	go func() {
		code, _ := honest.send("PUT", wire.PathSection, whole, nil)
		done <- code
	}()
	select {
	case code := <-done:
		if code != http.StatusNoContent {
			t.Errorf("the honest one got %d", code)
		}
	case <-within.Done():
		t.Error("the honest one waits for the slow")
	}
	stop()
	for _, wait := range left {
		wait()
	}
}
