package client

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// fetch reads one metadata file of at most limit bytes into memory, within
// Limits.Metadata.
func (c *Client) fetch(ctx context.Context, role repo.Role, version, limit int64) ([]byte, error) {
	return c.fetchExact(ctx, role, version, limit, -1)
}

// fetchMeta reads the metadata file that the role above promised.
func (c *Client) fetchMeta(ctx context.Context, role repo.Role, meta *metadata.MetaFiles, limit int64) ([]byte, error) {
	if meta.Length > limit {
		return nil, fault.New(fault.Untrusted, "client: the repository's %s version %d is refused: %d bytes are more than the limit of %d", role, meta.Version, meta.Length, limit)
	}
	length := int64(-1)
	if meta.Length > 0 {
		limit, length = meta.Length, meta.Length
	}
	data, err := c.fetchExact(ctx, role, meta.Version, limit, length)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.Wrap(err, fault.Unavailable, "client: the repository promises %s version %d but does not have it", role, meta.Version).
			WithHint("If it was being copied just now, try again; otherwise the copy is incomplete.")
	}
	return data, err
}

func (c *Client) fetchExact(ctx context.Context, role repo.Role, version, limit, length int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Limits.Metadata)
	defer cancel()
	body, size, err := c.opts.Transport.Get(ctx, repo.MetadataPath(role, version))
	if err != nil {
		return nil, stopped(ctx, err, role)
	}
	stop := context.AfterFunc(ctx, func() { _ = body.Close() }) // frees a read that ignores ctx
	defer stop()
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if stop() {
		err = errors.Join(err, body.Close())
	}
	switch {
	case err != nil:
		return nil, stopped(ctx, err, role)
	case int64(len(data)) > limit:
		return nil, fault.New(fault.Untrusted, "client: the repository's %s is refused: it has more than the %d bytes that are allowed", role, limit)
	case int64(len(data)) < max(size, length):
		return nil, fault.New(fault.Unavailable, "client: the transfer of the repository's %s was cut short: %d of %d bytes came", role, len(data), max(size, length))
	}
	return data, ctx.Err()
}

// stopped names the cause of a failed metadata transfer.
func stopped(ctx context.Context, err error, role repo.Role) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Wrap(err, fault.Unavailable, "client: the repository's %s did not come in time", role)
	case ctx.Err() != nil:
		return fault.Wrap(err, fault.Cancelled, "client: stopped while the repository's %s was being fetched", role)
	}
	return fault.Wrap(err, codeFor(err), "client: the repository's %s can't be fetched", role)
}

// pace cancels a transfer that drips: within each period at least min bytes
// must be counted. It stops with its context.
func pace(ctx context.Context, cancel context.CancelCauseFunc, count *atomic.Int64, period time.Duration, least int64) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	var before int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := count.Load()
		if now-before < least {
			cancel(fault.New(fault.Unavailable, "client: the transfer drips: %d bytes in %s", now-before, period).
				WithHint("The part that came is kept; try again over a better line."))
			return
		}
		before = now
	}
}
