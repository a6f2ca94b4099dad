package gateway

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// Bounds of inventories that are on their way. Nearly all of them fit into
// smallBody: they are received whole before they take one of the few places
// where an inventory is unpacked, so that one that comes a byte at a time keeps
// nobody else from them. The largest have places of their own.
const (
	maxComing    = 256
	maxInflating = 4
	maxLarge     = 4
	smallBody    = 1 << 20 // bytes, packed
)

// intake takes inventories in, one at a time from each endpoint.
type intake struct {
	coming, inflating, large chan struct{}

	mu sync.Mutex
	of map[estate.EndpointID]bool
}

func (in *intake) init() {
	in.coming, in.inflating, in.large = make(chan struct{}, maxComing), make(chan struct{}, maxInflating), make(chan struct{}, maxLarge)
	in.of = map[estate.EndpointID]bool{}
}

// alone refuses (Unavailable) a second inventory of an endpoint while the
// first one is coming in.
func (in *intake) alone(id estate.EndpointID) (leave func(), err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.of[id] {
		return nil, fault.New(fault.Unavailable, "an inventory of this machine is coming in already").WithHint("try again in a moment")
	}
	in.of[id] = true
	return func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		delete(in.of, id)
	}, nil
}

// body receives and unpacks an inventory. What it took of memory and places is
// kept until leave is called, which is never nil.
func (in *intake) body(ctx context.Context, r io.Reader) (body []byte, leave func(), err error) {
	come, err := enter(ctx, in.coming)
	if err != nil {
		return nil, come, err
	}
	head, err := io.ReadAll(io.LimitReader(r, smallBody+1))
	if err != nil {
		return nil, come, badBody(err)
	}
	places, packed := in.inflating, io.Reader(bytes.NewReader(head))
	if len(head) > smallBody {
		places, packed = in.large, io.MultiReader(packed, r)
	}
	unpack, err := enter(ctx, places)
	leave = func() { unpack(); come() }
	if err == nil {
		body, err = inflate(packed)
	}
	return body, leave, err
}

// enter waits for a place.
func enter(ctx context.Context, places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return func() {}, fault.New(fault.Cancelled, "the agent left")
	}
}

// inflate decompresses at most maxInflated bytes: a small body that expands
// without end costs its bound and no more.
func inflate(r io.Reader) ([]byte, error) {
	dec, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "gateway: no decompressor")
	}
	defer dec.Close()
	body, err := io.ReadAll(io.LimitReader(dec, maxInflated+1))
	if err != nil {
		return nil, badBody(err)
	}
	if len(body) > maxInflated {
		return nil, fault.New(fault.Exhausted, "the inventory is larger than %d bytes", maxInflated)
	}
	return body, nil
}
