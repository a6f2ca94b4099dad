package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/client"
)

// Targets of the catalog are called "catalog/PLATFORM.shard.zst" and
// "catalog/PLATFORM.FROM-TO.delta".
const (
	targetDir   = "catalog/"
	shardSuffix = ".shard.zst"
)

// custom is what the publisher attaches to a shard target: what stands in it
// once it is unpacked.
type custom struct {
	Platform string `json:"platform"`
	Version  int64  `json:"version"`
	SHA256   string `json:"sha256"`
	Size     int64  `json:"size"`
}

// Sync brings the catalog up to date and reports whether it changed. An
// unchanged repository costs two small requests. After an error the last good
// catalog is in use as before; the error, also in Status, says what was
// refused: fault.Untrusted, or why it could not be had: fault.Unavailable,
// fault.Exhausted.
func (m *Mirror) Sync(ctx context.Context, now time.Time) (bool, error) {
	m.syncing.Lock()
	defer m.syncing.Unlock()
	platforms, err := m.sync(ctx, now)
	m.mu.Lock()
	m.last = attempt{at: now, err: err}
	m.mu.Unlock()
	if err != nil {
		kept := "there is none yet"
		if m.Version() > 0 {
			kept = "the last good one stays in use"
		}
		return false, fault.Wrap(err, fault.CodeOf(err), "mirror: the catalog was not synchronised; %s", kept)
	}
	if len(platforms) > 0 && m.cfg.Changed != nil {
		m.cfg.Changed(platforms)
	}
	return len(platforms) > 0, nil
}

// sync returns the platforms whose shards are new.
func (m *Mirror) sync(ctx context.Context, now time.Time) ([]string, error) {
	if _, err := m.client.Refresh(ctx, now); err != nil {
		return nil, err
	}
	next := state{Synced: now, Shards: map[string]shardFile{}}
	shards := map[string]*catalog.Shard{}
	var fresh []string
	for _, t := range m.client.Targets() {
		if !strings.HasPrefix(t.Name, targetDir) || !strings.HasSuffix(t.Name, shardSuffix) {
			continue
		}
		platform, f, shard, isNew, err := m.take(ctx, t)
		if err != nil {
			return nil, err
		}
		next.Shards[platform], shards[platform] = f, shard
		if isNew {
			fresh = append(fresh, platform)
		}
	}
	for _, shard := range shards {
		if err := m.Stage(ctx, indexBlobs(shard.Header()), nil); err != nil {
			return nil, fault.Wrap(err, fault.CodeOf(err), "mirror: an index of the catalog is not to be had")
		}
	}
	if err := m.client.Mirror(ctx, filepath.Join(m.cfg.Dir, "repository"), nil); err != nil {
		return nil, err
	}
	if err := m.saveState(next); err != nil {
		return nil, err
	}
	gone := m.dropped(next)
	m.use(next, shards)
	m.clean(next)
	return append(fresh, gone...), nil
}

// dropped lists the platforms that the new catalog no longer has.
func (m *Mirror) dropped(next state) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var gone []string
	for platform := range m.good.Shards {
		if _, ok := next.Shards[platform]; !ok {
			gone = append(gone, platform)
		}
	}
	return gone
}

// take returns the open shard of a target, unpacked anew unless it is the one
// in use.
func (m *Mirror) take(ctx context.Context, t client.Target) (string, shardFile, *catalog.Shard, bool, error) {
	var c custom
	if err := json.Unmarshal(t.Custom, &c); err != nil {
		return "", shardFile{}, nil, false, fault.Wrap(err, fault.Untrusted, "mirror: target %s does not say what it holds", t.Name)
	}
	if t.Name != targetDir+c.Platform+shardSuffix || strings.Contains(c.Platform, "/") || repo.CheckHash(c.SHA256) != nil ||
		c.Size <= 0 || c.Size > catalog.MaxShard+catalog.MaxResident {
		return "", shardFile{}, nil, false, fault.New(fault.Untrusted, "mirror: target %s says something unfit of itself", t.Name)
	}
	m.mu.RLock()
	have, shard := m.good.Shards[c.Platform], m.shards[c.Platform]
	m.mu.RUnlock()
	if shard != nil && have.Target == t.Hashes["sha256"] {
		return c.Platform, have, shard, false, nil
	}
	f := shardFile{Target: t.Hashes["sha256"], File: c.Platform + "." + c.SHA256[:16] + ".shard", SHA256: c.SHA256, Size: c.Size, Version: c.Version}
	if err := m.unpack(ctx, t, f); err != nil {
		return "", f, nil, false, err
	}
	shard, err := m.openShard(c.Platform, f)
	return c.Platform, f, shard, true, err
}

// unpack fetches the target to its place in the copy, where Mirror will find
// it, and decompresses it; the outcome must be what the signed target says.
func (m *Mirror) unpack(ctx context.Context, t client.Target, f shardFile) error {
	packed := filepath.Join(m.cfg.Dir, "repository", filepath.FromSlash(repo.TargetPath(t.Name, t.Hashes["sha256"])))
	if err := os.MkdirAll(filepath.Dir(packed), 0o755); err != nil {
		return fault.Wrap(err, fault.Unavailable, "mirror: the copy's folder can't be made")
	}
	if err := m.client.DownloadFile(ctx, t.Name, packed); err != nil {
		return err
	}
	src, err := os.Open(packed)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "mirror: %s can't be read", t.Name)
	}
	defer func() { _ = src.Close() }() // only read
	dst, err := atomicfile.Create(m.shardPath(f.File), 0o644)
	if err != nil {
		return err
	}
	defer dst.Abort()
	if err := decompress(dst, src, f); err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "mirror: shard %s version %d is refused", t.Name, f.Version)
	}
	return dst.Commit()
}

// decompress writes no more than the announced size and checks size and hash.
func decompress(dst io.Writer, src io.Reader, want shardFile) error {
	dec, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return fault.Wrap(err, fault.Internal, "mirror: no decompressor")
	}
	defer dec.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, h), io.LimitReader(dec, want.Size+1))
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return err // the disk's, not the data's
	}
	if err != nil {
		return fault.Wrap(err, fault.Untrusted, "mirror: it can't be unpacked")
	}
	if got := hex.EncodeToString(h.Sum(nil)); n != want.Size || got != want.SHA256 {
		return fault.New(fault.Untrusted, "mirror: it unpacks to other bytes than were signed for")
	}
	return nil
}

// openShard opens an unpacked shard and checks that it is what it is called.
// The file is closed when nobody uses the shard any more (os.File's finalizer).
func (m *Mirror) openShard(platform string, want shardFile) (*catalog.Shard, error) {
	file, err := os.Open(m.shardPath(want.File))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "mirror: the shard of %s can't be opened", platform)
	}
	info, err := file.Stat()
	if err == nil && info.Size() != want.Size {
		err = fault.New(fault.Untrusted, "mirror: the shard of %s has %d bytes instead of %d", platform, info.Size(), want.Size)
	}
	var shard *catalog.Shard
	if err == nil {
		shard, err = catalog.Open(file, want.Size)
	}
	if err == nil && (shard.Header().Platform != platform || shard.Header().Version != want.Version) {
		err = fault.New(fault.Untrusted, "mirror: the shard of %s version %d says that it is of %s version %d",
			platform, want.Version, shard.Header().Platform, shard.Header().Version)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return shard, nil
}

// clean removes unpacked shards that are no longer in use.
func (m *Mirror) clean(keep state) {
	used := map[string]bool{}
	for _, f := range keep.Shards {
		used[f.File] = true
	}
	dir := filepath.Join(m.cfg.Dir, "catalog")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // the next Sync cleans
	}
	for _, e := range entries {
		if !used[e.Name()] {
			_ = os.Remove(filepath.Join(dir, e.Name())) // where open files can't be removed, the next Sync does
		}
	}
}

// indexBlobs are the blobs that the shard's archives consist of: what every
// agent of the platform may need to plan.
func indexBlobs(h catalog.Header) []patch.Payload {
	var all []patch.Payload
	add := func(name string, b catalog.Blob) {
		if b.SHA256 != "" {
			all = append(all, patch.Payload{SHA256: b.SHA256, Size: b.Size, Name: name})
		}
	}
	for _, a := range h.Archives {
		add(a.Path+"/InRelease", a.InRelease)
		for _, i := range a.Indexes {
			add(a.Path+"/"+i.Name, i.Blob)
		}
	}
	return all
}
