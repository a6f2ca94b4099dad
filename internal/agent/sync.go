package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo/client"
)

// shardInfo is what the publisher attaches to a shard's signed target, and
// what the agent keeps beside its copy: the shard as it lies uncompressed.
type shardInfo struct {
	Platform string `json:"platform"`
	Version  int64  `json:"version"`
	SHA256   string `json:"sha256"`
	Size     int64  `json:"size"`
}

func shardTarget(platform string) string { return "catalog/" + platform + ".shard.zst" }

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
// repository; the first one must be there. Whatever fails, the last good
// shards stay. It returns the version that the machine's own shard has now.
func syncCatalog(ctx context.Context, d Dir, t client.Transport, platforms []string, now time.Time) (int64, error) {
	c, err := openRepository(d, t)
	if err != nil {
		return 0, err
	}
	_, refreshed := c.Refresh(ctx, now)
	if fault.Is(refreshed, fault.Cancelled) {
		return 0, refreshed
	}
	var errs []error
	for i, p := range platforms {
		err := syncShard(ctx, d, c, p)
		if err != nil && (i == 0 || !fault.Is(err, fault.NotFound)) {
			errs = append(errs, err)
		}
	}
	have, _ := keptShard(d, platforms[0])
	switch {
	case refreshed != nil:
		return have.Version, fault.Wrap(refreshed, fault.CodeOf(refreshed), "agent: %s", inUse(have))
	case len(errs) > 0:
		return have.Version, errs[0]
	case c.Status().Expired(now):
		return have.Version, fault.New(fault.Untrusted, "agent: the catalog has expired at %s", c.Status().Expires.UTC().Format(time.RFC3339))
	}
	return have.Version, nil
}

// inUse says what counts when the repository is refused.
func inUse(have shardInfo) string {
	if have.Version == 0 {
		return "this machine has no catalog yet"
	}
	return fmt.Sprintf("catalog %d stays in use", have.Version)
}

// keptShard reads what the agent's copy is; the zero value when there is none.
func keptShard(d Dir, platform string) (info shardInfo, err error) {
	err = readJSON(d.Shard(platform)+".json", &info)
	if _, statErr := os.Stat(d.Shard(platform)); err != nil || statErr != nil {
		return shardInfo{}, errors.Join(err, statErr)
	}
	return info, nil
}

func syncShard(ctx context.Context, d Dir, c *client.Client, platform string) error {
	target, err := c.Target(shardTarget(platform))
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			err = fault.Wrap(err, fault.NotFound, "agent: the catalog holds nothing for this kind of machine (%s)", platform)
		}
		return err
	}
	want, err := parseShardInfo(target, platform)
	if err != nil {
		return err
	}
	have, _ := keptShard(d, platform) // none and a damaged one are fetched whole
	if have == want {
		return nil
	}
	if have.Version > 0 {
		if done := syncDelta(ctx, d, c, have, want); done {
			return nil
		}
	}
	return replaceShard(d, want, func(w io.Writer) error { return fetchShard(ctx, d, c, target.Name, w) })
}

func parseShardInfo(t client.Target, platform string) (shardInfo, error) {
	var info shardInfo
	if err := json.Unmarshal(t.Custom, &info); err != nil || info.Platform != platform || len(info.SHA256) != 64 || info.Size <= 0 || info.Size > maxShardFile {
		return info, fault.Wrap(err, fault.Untrusted, "agent: the catalog for %s is refused: its signed description is not whole", platform)
	}
	return info, nil
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
	old, err := os.Open(d.Shard(have.Platform))
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
	if err := os.Rename(path+".new", path); err != nil {
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
