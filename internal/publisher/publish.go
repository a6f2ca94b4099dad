package publisher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

// ShardInfo is the custom part of a shard's target: what a reader must know
// before it decides whether to fetch the shard or a delta.
type ShardInfo struct {
	Platform string `json:"platform"`
	Version  int64  `json:"version"`
	// SHA256 and Size are of the shard unpacked.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	// Previous is the version before this one, 0 when there was none.
	Previous int64 `json:"previous,omitempty"`
}

// shard is an encoded shard on its way into the repository.
type shard struct {
	info ShardInfo
	raw  []byte
}

// openRepository opens the repository, or makes it with its keys when its
// folder holds none.
func (p *Publisher) openRepository(ctx context.Context) (*publish.Repository, error) {
	options := publish.Options{Expiry: p.cfg.Expiry}
	_, err := os.Stat(filepath.Join(p.cfg.Repository, filepath.FromSlash(repo.MetadataPath(repo.Root, 1))))
	if errors.Is(err, fs.ErrNotExist) {
		return publish.Init(ctx, p.cfg.Repository, p.cfg.Keys, p.now(), publish.Setup{
			Options: options, RootKeysDir: p.cfg.RootKeys,
			Passphrase: []byte(p.cfg.Passphrase), RootPassphrase: []byte(p.cfg.RootPassphrase),
		})
	}
	keys, err := p.dailyKeys()
	if err != nil {
		return nil, err
	}
	return publish.Open(p.cfg.Repository, keys, options)
}

// dailyKeys loads the keys of targets, snapshot and timestamp. Root keys stay
// closed, so that their passphrase is not needed.
func (p *Publisher) dailyKeys() ([]publish.Key, error) {
	entries, err := os.ReadDir(p.cfg.Keys)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "publisher: the folder of signing keys can't be read").
			WithHint("Without the keys the repository can't be signed again. Restore them from your copy.")
	}
	var keys []publish.Key
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".key.json") || strings.HasPrefix(e.Name(), string(repo.Root)+"-") {
			continue
		}
		k, err := publish.LoadKey(filepath.Join(p.cfg.Keys, e.Name()), []byte(p.cfg.Passphrase))
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// RootFingerprint is what customers pin; see repo.RootFingerprint.
func (p *Publisher) RootFingerprint() (string, error) {
	p.filing.Lock()
	defer p.filing.Unlock()
	root, err := p.repo.RootJSON()
	if err != nil {
		return "", err
	}
	return repo.RootFingerprint(root)
}

// published reads which shards the repository's current targets name.
func (p *Publisher) published() (shards map[string]ShardInfo, names []string, err error) {
	at := filepath.Join(p.cfg.Repository, filepath.FromSlash(repo.MetadataPath(repo.Targets, p.repo.Version().Targets)))
	data, err := os.ReadFile(at)
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Unavailable, "publisher: the repository's targets can't be read")
	}
	var file struct {
		Signed struct {
			Targets map[string]struct {
				Custom ShardInfo `json:"custom"`
			} `json:"targets"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, nil, fault.Wrap(err, fault.Untrusted, "publisher: the repository's targets are damaged")
	}
	shards = map[string]ShardInfo{}
	for name, t := range file.Signed.Targets {
		names = append(names, name)
		if strings.HasSuffix(name, shardSuffix) {
			shards[t.Custom.Platform] = t.Custom
		}
	}
	return shards, names, nil
}

const (
	catalogDir  = "catalog/"
	shardSuffix = ".shard.zst"
	deltaSuffix = ".delta"
)

// publish signs a new version of the catalog when its content has changed, and
// renews signatures that are due otherwise.
func (p *Publisher) publish(ctx context.Context, b *batch) error {
	p.filing.Lock()
	defer p.filing.Unlock()
	old, names, err := p.published()
	if err != nil {
		return err
	}
	version := int64(0)
	for _, s := range old {
		version = max(version, s.Version)
	}
	changed, err := p.changed(b, old)
	if err != nil {
		return err
	}
	if changed {
		version++
		if err := p.stage(ctx, b, old, names, version); err != nil {
			return err
		}
	}
	if err := p.storeBlobs(ctx, b); err != nil {
		return err
	}
	if changed {
		_, err = p.repo.Publish(ctx, b.now)
	} else {
		_, err = p.repo.Refresh(ctx, b.now)
	}
	if err != nil {
		return err
	}
	b.report.Version, b.report.Changed, b.report.RootExpires = version, changed, p.repo.RootExpires()
	if !changed {
		return nil
	}
	if _, err := p.repo.Prune(ctx); err != nil {
		return err
	}
	return p.dropOldShards(b)
}

// changed encodes every shard under the version and date of its predecessor:
// equal bytes mean that nothing has changed.
func (p *Publisher) changed(b *batch, old map[string]ShardInfo) (bool, error) {
	changed := len(b.shards) != len(old)
	for i := range b.shards {
		h := &b.shards[i].Header
		was, ok := old[h.Platform]
		if !ok {
			changed = true
			continue
		}
		previous, err := p.readShard(was)
		if err != nil {
			changed = true // not at hand any more: publish anew
			continue
		}
		s, err := catalog.Open(bytes.NewReader(previous), int64(len(previous)))
		if err != nil {
			return false, err
		}
		h.Version, h.Created = was.Version, s.Header().Created
		same, err := encode(b.shards[i])
		if err != nil {
			return false, err
		}
		b.report.Shards = append(b.report.Shards, describe(b.shards[i], same))
		changed = changed || same.info.SHA256 != was.SHA256
	}
	if changed {
		b.report.Shards = nil
	}
	return changed, nil
}

func encode(c catalog.Contents) (shard, error) {
	var buf bytes.Buffer
	if err := catalog.Encode(&buf, c); err != nil {
		return shard{}, fault.Wrap(err, fault.CodeOf(err), "publisher: shard %s can't be encoded", c.Header.Platform)
	}
	sum := sha256.Sum256(buf.Bytes())
	return shard{raw: buf.Bytes(), info: ShardInfo{
		Platform: c.Header.Platform, Version: c.Header.Version, SHA256: hex.EncodeToString(sum[:]), Size: int64(buf.Len()),
	}}, nil
}

func describe(c catalog.Contents, s shard) ShardReport {
	r := ShardReport{
		Platform: c.Header.Platform, Patches: len(c.Patches), Advisories: len(c.Advisories),
		Vulnerabilities: len(c.Vulnerabilities), Size: s.info.Size,
	}
	for _, p := range c.Patches {
		r.Items += len(p.Items)
	}
	return r
}

// stage puts new shards and deltas into the repository, to be published
// together, and takes out what they replace.
func (p *Publisher) stage(ctx context.Context, b *batch, old map[string]ShardInfo, names []string, version int64) error {
	staged := map[string]bool{}
	for i := range b.shards {
		h := &b.shards[i].Header
		h.Version, h.Created = version, b.now.UTC().Truncate(1e9)
		s, err := encode(b.shards[i])
		if err != nil {
			return err
		}
		s.info.Previous = old[h.Platform].Version
		report := describe(b.shards[i], s)
		if err := p.stageShard(ctx, s, &report, staged); err != nil {
			return err
		}
		b.report.Shards = append(b.report.Shards, report)
	}
	for _, name := range names {
		if strings.HasPrefix(name, catalogDir) && !staged[name] {
			if err := p.repo.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Publisher) stageShard(ctx context.Context, s shard, report *ShardReport, staged map[string]bool) error {
	p.say("publish", s.info.Platform, "packing")
	packed, err := pack(s.raw)
	if err != nil {
		return err
	}
	report.Packed = int64(len(packed))
	name := catalogDir + s.info.Platform + shardSuffix
	if err := p.add(ctx, name, packed, s.info, staged); err != nil {
		return err
	}
	newer, err := catalog.Open(bytes.NewReader(s.raw), s.info.Size)
	if err != nil {
		return err
	}
	for _, from := range p.keptVersions(s.info.Platform) {
		if from < s.info.Version-int64(p.cfg.Deltas) || from >= s.info.Version {
			continue
		}
		delta, err := p.delta(s.info.Platform, from, newer)
		if err != nil {
			return err
		}
		if delta == nil || len(delta) >= len(packed) {
			continue // the whole shard is the shorter way
		}
		if from == s.info.Previous {
			report.Delta = int64(len(delta))
		}
		if err := p.add(ctx, deltaName(s.info.Platform, from, s.info.Version), delta, s.info, staged); err != nil {
			return err
		}
	}
	return p.keepShard(s.info, packed)
}

func deltaName(platform string, from, to int64) string {
	return catalogDir + platform + "." + itoa(from) + "-" + itoa(to) + deltaSuffix
}

// delta makes the delta from an older version. Nil means that there is none:
// the old shard is damaged or too different.
func (p *Publisher) delta(platform string, from int64, newer *catalog.Shard) ([]byte, error) {
	raw, err := p.readShard(ShardInfo{Platform: platform, Version: from})
	if err != nil {
		return nil, nil //nolint:nilerr // a delta is a convenience
	}
	older, err := catalog.Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, nil //nolint:nilerr // made by an older format
	}
	var buf bytes.Buffer
	switch err := catalog.MakeDelta(&buf, older, newer); {
	case fault.Is(err, fault.Exhausted):
		return nil, nil
	case err != nil:
		return nil, fault.Wrap(err, fault.CodeOf(err), "publisher: the delta from version %d of %s", from, platform)
	}
	return buf.Bytes(), nil
}

func (p *Publisher) add(ctx context.Context, name string, data []byte, info ShardInfo, staged map[string]bool) error {
	custom, err := json.Marshal(info)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "publisher: %s can't be described", name)
	}
	staged[name] = true
	_, err = p.repo.Add(ctx, name, bytes.NewReader(data), custom)
	return err
}

// storeBlobs brings the vendors' signed files and indexes that the shards pin
// into the payload store.
func (p *Publisher) storeBlobs(ctx context.Context, b *batch) error {
	for _, s := range b.shards {
		for _, a := range s.Header.Archives {
			for _, blob := range blobsOf(a) {
				if err := p.storeBlob(ctx, b.results, blob); err != nil {
					return fault.Wrap(err, fault.CodeOf(err), "publisher: %s", a.Path)
				}
			}
		}
	}
	return nil
}

func blobsOf(a catalog.Archive) []catalog.Blob {
	out := []catalog.Blob{a.InRelease}
	for _, ix := range a.Indexes {
		out = append(out, ix.Blob)
	}
	return out
}

func (p *Publisher) storeBlob(ctx context.Context, results []crawl.Result, blob catalog.Blob) error {
	if size, err := p.repo.HasPayload(blob.SHA256); err == nil && size == blob.Size {
		return nil
	}
	for _, r := range results {
		src, err := r.Output.OpenBlob(blob.SHA256)
		if err != nil {
			continue
		}
		err = p.file(ctx, src, blob.SHA256)
		_ = src.Close() // only read from
		return err
	}
	return fault.New(fault.NotFound, "publisher: no source has the vendor's file %s", blob.SHA256)
}

// file stores bytes as a payload if they have the hash.
func (p *Publisher) file(ctx context.Context, src io.Reader, want string) error {
	f, err := p.repo.AddPayload(ctx, src)
	if err != nil {
		return err
	}
	if f.SHA256 == want {
		return nil
	}
	if err := p.repo.RemovePayload(f.SHA256); err != nil {
		return err
	}
	return fault.New(fault.Untrusted, "publisher: a file is refused: its SHA-256 is %s and not %s", f.SHA256, want)
}

func pack(raw []byte) ([]byte, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "publisher: no zstd writer")
	}
	return z.EncodeAll(raw, nil), nil
}
