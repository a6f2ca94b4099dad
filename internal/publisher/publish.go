package publisher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// ShardInfo is the custom part of a shard's target: what a reader must know
// before it decides whether to fetch the shard or a delta.
type ShardInfo struct {
	Platform string `json:"platform"`
	Version  int64  `json:"version"`
	// Created is when that version was made.
	Created time.Time `json:"created"`
	// SHA256 and Size are of the shard unpacked.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	// Previous is the version before this one, 0 when there was none.
	Previous int64 `json:"previous,omitempty"`
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
		err = p.stage(ctx, b, old, names, version)
	} else {
		err = p.keepLost(b)
	}
	if err != nil {
		return err
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
		h.Version, h.Created = was.Version, was.Created
		info, err := encode(io.Discard, b.shards[i])
		if err != nil {
			return false, err
		}
		b.report.Shards = append(b.report.Shards, describe(b.shards[i], info))
		changed = changed || info.SHA256 != was.SHA256
	}
	if changed {
		b.report.Shards = nil
	}
	return changed, nil
}

// keepLost keeps the published shards again where the data folder lost them.
func (p *Publisher) keepLost(b *batch) error {
	for _, c := range b.shards {
		if _, err := os.Stat(p.shardPath(c.Header.Platform, c.Header.Version)); err == nil {
			continue
		}
		if _, _, err := p.keepShard(c); err != nil {
			return err
		}
	}
	return nil
}

// encode writes a shard and says what it wrote.
func encode(w io.Writer, c catalog.Contents) (ShardInfo, error) {
	h := sha256.New()
	n := &counter{}
	if err := catalog.Encode(io.MultiWriter(w, h, n), c); err != nil {
		return ShardInfo{}, fault.Wrap(err, fault.CodeOf(err), "publisher: shard %s can't be encoded", c.Header.Platform)
	}
	return ShardInfo{
		Platform: c.Header.Platform, Version: c.Header.Version, Created: c.Header.Created,
		SHA256: hex.EncodeToString(h.Sum(nil)), Size: n.bytes,
	}, nil
}

// counter counts what is written to it.
type counter struct{ bytes int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return len(p), nil
}

func describe(c catalog.Contents, info ShardInfo) ShardReport {
	r := ShardReport{
		Platform: c.Header.Platform, Patches: len(c.Patches), Advisories: len(c.Advisories),
		Vulnerabilities: len(c.Vulnerabilities), Size: info.Size,
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
		report, err := p.stageShard(ctx, b.shards[i], old[h.Platform].Version, staged)
		if err != nil {
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

// stageShard keeps one shard and adds it and the deltas to it as targets.
func (p *Publisher) stageShard(ctx context.Context, c catalog.Contents, previous int64, staged map[string]bool) (ShardReport, error) {
	p.say("publish", c.Header.Platform, "packing")
	info, packed, err := p.keepShard(c)
	if err != nil {
		return ShardReport{}, err
	}
	info.Previous = previous
	report := describe(c, info)
	report.Packed = packed
	f, err := os.Open(p.shardPath(info.Platform, info.Version))
	if err != nil {
		return report, fault.Wrap(err, fault.Unavailable, "publisher: the shard that was just written can't be read")
	}
	defer f.Close()
	if err := p.add(ctx, catalogDir+info.Platform+shardSuffix, f, info, staged); err != nil {
		return report, err
	}
	newer, err := p.openShard(info)
	if err != nil {
		return report, err
	}
	defer newer.Close()
	for _, from := range p.keptVersions(info.Platform) {
		if from < info.Version-int64(p.cfg.Deltas) || from >= info.Version {
			continue
		}
		delta, err := p.delta(from, newer.Shard)
		if err != nil {
			return report, err
		}
		if delta == nil || int64(len(delta)) >= packed {
			continue // the whole shard is the shorter way
		}
		if from == previous {
			report.Delta = int64(len(delta))
		}
		if err := p.add(ctx, deltaName(info.Platform, from, info.Version), bytes.NewReader(delta), info, staged); err != nil {
			return report, err
		}
	}
	return report, nil
}

func deltaName(platform string, from, to int64) string {
	return catalogDir + platform + "." + itoa(from) + "-" + itoa(to) + deltaSuffix
}

// delta makes the delta from an older version. Nil means that there is none:
// the old shard is damaged or too different.
func (p *Publisher) delta(from int64, newer *catalog.Shard) ([]byte, error) {
	platform := newer.Header().Platform
	older, err := p.openShard(ShardInfo{Platform: platform, Version: from})
	if err != nil {
		return nil, nil // not kept any more, or of an older format: a delta is a convenience
	}
	defer older.Close()
	var buf bytes.Buffer
	switch err := catalog.MakeDelta(&buf, older.Shard, newer); {
	case fault.Is(err, fault.Exhausted):
		return nil, nil
	case err != nil:
		return nil, fault.Wrap(err, fault.CodeOf(err), "publisher: the delta from version %d of %s", from, platform)
	}
	return buf.Bytes(), nil
}

func (p *Publisher) add(ctx context.Context, name string, src io.Reader, info ShardInfo, staged map[string]bool) error {
	custom, err := json.Marshal(info)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "publisher: %s can't be described", name)
	}
	staged[name] = true
	_, err = p.repo.Add(ctx, name, src, custom)
	return err
}
