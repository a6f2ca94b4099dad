package link

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo/client"
	"github.com/fettlehq/fettle/internal/wire"
)

const maxWake = 4 << 10 // bytes of one line of the wake channel

// Wake opens the wake channel and calls on for each line until the channel or
// ctx ends. It never returns nil: fault.Unavailable is a channel that ended,
// fault.Cancelled the end of ctx.
func (c *Client) Wake(ctx context.Context, on func(wire.Wake)) error {
	resp, err := c.do(ctx, http.MethodGet, wire.PathWake, nil, "", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // an endless stream has no good end
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 512), maxWake)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var w wire.Wake
		if err := json.Unmarshal(lines.Bytes(), &w); err != nil {
			return fault.Wrap(err, fault.Untrusted, "link: a line of the wake channel is not understood")
		}
		on(w)
	}
	if ctx.Err() != nil {
		return fault.Wrap(ctx.Err(), fault.Cancelled, "link: the wake channel was closed")
	}
	return fault.Wrap(lines.Err(), fault.Unavailable, "link: the wake channel ended")
}

// PutSections sends the bodies that the server asked for, compressed.
func (c *Client) PutSections(ctx context.Context, s wire.Sections) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "link: encode sections")
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fault.Wrap(err, fault.Internal, "link: start the compression")
	}
	packed := enc.EncodeAll(data, nil)
	if len(packed) > wire.MaxSections {
		return fault.New(fault.Exhausted, "link: the inventory has %d bytes compressed, at most %d are taken", len(packed), wire.MaxSections)
	}
	resp, err := c.do(ctx, http.MethodPut, wire.PathSection, bytes.NewReader(packed), "application/json", map[string]string{"Content-Encoding": "zstd"})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Repository is the transport for the signed repository that the server
// mirrors.
func (c *Client) Repository() (client.Transport, error) {
	return client.NewHTTP(c.base.JoinPath(wire.PathRepo).String(), c.http)
}
