package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo/client"
)

func deltaTarget(platform string, from, to int64) string {
	return fmt.Sprintf("catalog/%s.%d-%d.delta", platform, from, to)
}

// openRepository returns the repository client in its last good state. With a
// nil transport nothing can be fetched.
func openRepository(d Dir, t client.Transport) (*client.Client, error) {
	root, err := os.ReadFile(d.root())
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "agent: the pinned root of the repository is missing").WithHint("enrol the machine again with --force")
	}
	return client.New(client.Options{Root: root, Dir: d.repo(), Transport: t})
}

// syncCatalog brings the shards of the platforms up to date with the signed
// repository; it must hold one of them at least. Whatever fails, the last good
// shards stay. Nothing of other platforms is fetched. It returns the version
// that the machine's catalog has now.
func syncCatalog(ctx context.Context, d Dir, t client.Transport, platforms []string, now time.Time) (int64, error) {
	c, err := openRepository(d, t)
	if err != nil {
		return 0, err
	}
	_, refreshed := c.Refresh(ctx, now)
	if fault.Is(refreshed, fault.Cancelled) {
		return 0, refreshed
	}
	synced := syncShards(ctx, d, c, platforms)
	have := keptVersion(d, platforms)
	switch {
	case refreshed != nil:
		return have, fault.Wrap(refreshed, fault.CodeOf(refreshed), "agent: %s", inUse(have))
	case synced != nil:
		return have, synced
	case c.Status().Expired(now):
		return have, fault.New(fault.Untrusted, "agent: the catalog has expired at %s", c.Status().Expires.UTC().Format(time.RFC3339))
	}
	return have, nil
}

// syncShards brings each shard up to date that the repository signs, and drops
// what it does not; the first failure is told, the other shards still come.
func syncShards(ctx context.Context, d Dir, c *client.Client, platforms []string) error {
	var signed []string
	var first error
	for _, p := range platforms {
		want, err := signedShard(c, p)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		signed = append(signed, p)
		if err == nil {
			err = syncShard(ctx, d, c, want)
		}
		if first == nil {
			first = err
		}
	}
	switch {
	case first != nil:
		return first
	case len(signed) == 0:
		return fault.New(fault.NotFound, "agent: the catalog holds nothing for this kind of machine (%s)", strings.Join(platforms, ", "))
	}
	return dropShards(d, signed)
}

// inUse says what counts when the repository is refused.
func inUse(have int64) string {
	if have == 0 {
		return "this machine has no catalog yet"
	}
	return fmt.Sprintf("catalog %d stays in use", have)
}

func syncShard(ctx context.Context, d Dir, c *client.Client, want shardInfo) error {
	have, _ := keptShard(d, want.Platform) // none and a damaged one are fetched whole
	if have == want {
		return nil
	}
	if have.Version > 0 {
		if done := syncDelta(ctx, d, c, have, want); done {
			return nil
		}
	}
	return replaceShard(d, want, func(w io.Writer) error { return fetchShard(ctx, d, c, shardTarget(want.Platform), w) })
}

// syncDelta tries the delta from the kept shard; it is only a saving, so any
// failure means that the whole shard is fetched.
func syncDelta(ctx context.Context, d Dir, c *client.Client, have, want shardInfo) bool {
	name := deltaTarget(have.Platform, have.Version, want.Version)
	if _, err := c.Target(name); err != nil {
		return false
	}
	part := d.path("shards", have.Platform+".delta")
	defer func() { _ = os.Remove(part) }() // fetched again when needed
	if err := c.DownloadFile(ctx, name, part); err != nil {
		return false
	}
	old, err := openShared(d.Shard(have.Platform))
	if err != nil {
		return false
	}
	defer func() { _ = old.Close() }() // read only
	delta, err := os.Open(part)
	if err != nil {
		return false
	}
	defer func() { _ = delta.Close() }() // read only
	shard, err := catalog.Open(old, have.Size)
	if err != nil {
		return false
	}
	return replaceShard(d, want, func(w io.Writer) error { return catalog.ApplyDelta(w, shard, delta) }) == nil
}

// fetchShard streams the compressed target through a file, because the bytes
// are unverified until the last one has come.
func fetchShard(ctx context.Context, d Dir, c *client.Client, name string, w io.Writer) error {
	part := d.path("shards", "fetched.zst")
	defer func() { _ = os.Remove(part) }() // a part that was cut stays as .part
	if err := c.DownloadFile(ctx, name, part); err != nil {
		return err
	}
	f, err := os.Open(part)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't read the fetched catalog")
	}
	defer func() { _ = f.Close() }() // read only
	return unpack(w, f, maxShardFile)
}

// replaceShard puts a new shard in place of the old when its bytes are those
// that were signed for and it opens.
func replaceShard(d Dir, want shardInfo, fill func(io.Writer) error) error {
	path := d.Shard(want.Platform)
	w, err := atomicfile.Create(path+".new", 0o600)
	if err != nil {
		return err
	}
	defer w.Abort()
	h := sha256.New()
	if err := fill(io.MultiWriter(w, h)); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
		return fault.New(fault.Untrusted, "agent: the catalog for %s is refused: its SHA-256 is %s where %s is signed for", want.Platform, got, want.SHA256)
	}
	if err := w.Commit(); err != nil {
		return err
	}
	if err := tryShard(path+".new", want); err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	// Between the two writes the description is missing, which means "fetch".
	if err := os.Remove(path + ".json"); err != nil && !os.IsNotExist(err) {
		return fault.Wrap(err, fault.Unavailable, "agent: can't replace the catalog")
	}
	if err := replace(path+".new", path); err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't replace the catalog")
	}
	return writeJSON(path+".json", want)
}

func tryShard(path string, want shardInfo) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't read the new catalog")
	}
	defer func() { _ = f.Close() }() // read only
	s, err := catalog.Open(f, want.Size)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "agent: the new catalog for %s is refused, the old one stays", want.Platform)
	}
	if h := s.Header(); h.Platform != want.Platform || h.Version != want.Version {
		return fault.New(fault.Untrusted, "agent: the new catalog is refused: it says %s %d where %s %d is signed for", h.Platform, h.Version, want.Platform, want.Version)
	}
	return nil
}

// follow brings the catalog up to date through the gateway.
func follow(ctx context.Context, cfg Config) (int64, error) {
	unlock, err := lock(ctx, cfg.State.syncLock())
	if err != nil {
		return 0, err
	}
	defer unlock()
	s, err := cfg.State.readSummary()
	if err != nil {
		return 0, err
	}
	id, err := cfg.State.identity()
	if err != nil {
		return 0, err
	}
	c, err := id.connect()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	t, err := c.Repository()
	if err != nil {
		return 0, err
	}
	return syncCatalog(ctx, cfg.State, t, s.Platforms, time.Now())
}

// haveCatalog makes sure that the agent's catalog is whole and not older than
// the order.
func haveCatalog(ctx context.Context, cfg Config, c *link.Client, version int64) error {
	s, err := cfg.State.readSummary()
	if err != nil {
		return err
	}
	t, err := c.Repository()
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, cfg.State.syncLock())
	if err != nil {
		return err
	}
	defer unlock()
	now := time.Now()
	if keptVersion(cfg.State, s.Platforms) >= version && whole(cfg.State, s.Platforms) && fresh(cfg.State, t, now) == nil {
		return nil
	}
	have, err := syncCatalog(ctx, cfg.State, t, s.Platforms, now)
	if have > 0 {
		return nil // what it holds decides; the digest is checked in any case
	}
	return err
}

// whole reports whether the kept shards are those that the repository signed
// when it was last followed: a sync may have broken off between two of them.
func whole(d Dir, platforms []string) bool {
	c, err := openRepository(d, nil)
	if err != nil {
		return false
	}
	found := false
	for _, p := range platforms {
		want, err := signedShard(c, p)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		have, _ := keptShard(d, p) // none differs from any
		if err != nil || have != want {
			return false
		}
		found = true
	}
	return found
}

// fresh refuses (Untrusted) a catalog whose signatures have expired: somebody
// may be keeping newer ones away.
func fresh(d Dir, t client.Transport, now time.Time) error {
	c, err := openRepository(d, t)
	if err != nil {
		return err
	}
	if st := c.Status(); st.Expired(now) {
		return fault.New(fault.Untrusted, "agent: the catalog's signatures expired at %s; nothing is installed from it", st.Expires.UTC().Format(time.RFC3339)).
			WithHint("is the publisher running, and does the server synchronise? 'fettle status' tells")
	}
	return nil
}

// current refuses to begin anything from an expired catalog. What has begun is
// seen to its end all the same.
func current(cfg Config, c *link.Client, step stepName) error {
	if step != stepPlan && step != stepDownload && step != stepInstall {
		return nil
	}
	t, err := c.Repository()
	if err != nil {
		return err
	}
	return fresh(cfg.State, t, time.Now())
}
