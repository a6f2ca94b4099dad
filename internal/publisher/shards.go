package publisher

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
)

// Published shards are kept in the data folder too, as PLATFORM.VERSION.shard.zst,
// because deltas are made from them.

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func (p *Publisher) shardPath(platform string, version int64) string {
	return filepath.Join(p.shardDir(), platform+"."+itoa(version)+shardSuffix)
}

func (p *Publisher) keepShard(info ShardInfo, packed []byte) error {
	return atomicfile.Write(p.shardPath(info.Platform, info.Version), packed, 0o644)
}

// readShard unpacks a kept shard. It returns fault.NotFound when it is not
// kept any more.
func (p *Publisher) readShard(info ShardInfo) ([]byte, error) {
	f, err := os.Open(p.shardPath(info.Platform, info.Version))
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "publisher: shard %s of version %d is not kept", info.Platform, info.Version)
	}
	defer f.Close() //nolint:errcheck // only read from
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(catalog.MaxShard))
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "publisher: no zstd reader")
	}
	defer z.Close()
	var buf bytes.Buffer
	buf.Grow(int(info.Size) + bytes.MinRead)
	if _, err := io.Copy(&buf, z); err != nil {
		return nil, fault.Wrap(err, fault.Untrusted, "publisher: the kept shard %s of version %d is damaged", info.Platform, info.Version)
	}
	return buf.Bytes(), nil
}

// keptVersions lists the versions of a platform that are kept, newest first.
func (p *Publisher) keptVersions(platform string) []int64 {
	entries, err := os.ReadDir(p.shardDir())
	if err != nil {
		return nil // no deltas then
	}
	var out []int64
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), platform+".")
		number, ok2 := strings.CutSuffix(rest, shardSuffix)
		if v, err := strconv.ParseInt(number, 10, 64); ok && ok2 && err == nil {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b int64) int { return int(b - a) })
	return out
}

// dropOldShards removes kept shards that no further delta starts from.
func (p *Publisher) dropOldShards(b *batch) error {
	for _, s := range b.shards {
		for _, v := range p.keptVersions(s.Header.Platform) {
			if v > s.Header.Version-int64(max(p.cfg.Deltas, 1)) {
				continue
			}
			if err := os.Remove(p.shardPath(s.Header.Platform, v)); err != nil {
				return fault.Wrap(err, fault.Unavailable, "publisher: an old shard can't be removed")
			}
		}
	}
	return nil
}
