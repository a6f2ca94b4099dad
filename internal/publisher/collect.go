package publisher

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
)

// Collecting is done once a day, of payloads that have been in the store for
// longer than any reader of the version before takes.
const (
	collectEvery = 24 * time.Hour
	payloadGrace = 24 * time.Hour
)

// collect removes payloads from the store that no kept shard names: indexes of
// archives as they were before, and files of patches that have gone. The
// current shards are kept ones, and so is each from which a delta is offered.
// What goes wrong costs disk space alone; the next day tries again.
func (p *Publisher) collect(ctx context.Context, b *batch) error {
	marker := filepath.Join(p.cfg.Data, "collected")
	if info, err := os.Stat(marker); err == nil && b.now.Sub(info.ModTime()).Abs() < collectEvery {
		return nil
	}
	removed, err := p.dropPayloads(ctx, b.now.Add(-payloadGrace))
	if err == nil {
		err = atomicfile.Write(marker, nil, 0o644)
	}
	if err == nil {
		err = os.Chtimes(marker, b.now, b.now)
	}
	if err != nil && ctx.Err() == nil {
		p.log.Warn("old payloads can't be removed", "error", err)
		return nil
	}
	if removed > 0 {
		p.log.Info("old payloads removed", "payloads", removed)
	}
	b.report.Collected = removed
	return err
}

// dropPayloads removes those that came before the moment and are not named.
func (p *Publisher) dropPayloads(ctx context.Context, before time.Time) (int, error) {
	unnamed, err := p.storedPayloads(before)
	if err != nil || len(unnamed) == 0 {
		return 0, err
	}
	for _, look := range []func(*catalog.Shard) error{
		func(s *catalog.Shard) error { return strikeBlobs(unnamed, s) },
		func(s *catalog.Shard) error { return strikeItems(unnamed, s) },
	} {
		if err := p.eachKept(ctx, func() bool { return len(unnamed) > 0 }, look); err != nil {
			return 0, err
		}
	}
	p.filing.Lock()
	defer p.filing.Unlock()
	for hash := range unnamed {
		if err := p.repo.RemovePayload(hash); err != nil {
			return 0, err
		}
	}
	return len(unnamed), nil
}

// storedPayloads lists the store's payloads that came before the moment.
func (p *Publisher) storedPayloads(before time.Time) (map[string]bool, error) {
	files, err := p.payloadFiles()
	out := map[string]bool{}
	for hash, info := range files {
		if info.ModTime().Before(before) {
			out[hash] = true
		}
	}
	return out, err
}

// eachKept opens every kept shard, the newest of each platform first, for as
// long as more says so. One that can't be opened ends it with an error: what
// it names is not known.
func (p *Publisher) eachKept(ctx context.Context, more func() bool, do func(*catalog.Shard) error) error {
	infos, err := p.keptShards()
	if err != nil {
		return err
	}
	for _, info := range infos {
		if !more() {
			return nil
		}
		if ctx.Err() != nil {
			return fault.Wrap(ctx.Err(), fault.Cancelled, "publisher: collecting payloads was stopped")
		}
		s, err := p.openShard(info)
		if fault.Is(err, fault.Unsupported) {
			continue // of an older format: no delta starts from it
		}
		if err != nil {
			return err
		}
		err = do(s.Shard)
		s.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// keptShards lists the kept shards of the published platforms, newest first,
// the published ones with their hash.
func (p *Publisher) keptShards() ([]ShardInfo, error) {
	p.filing.Lock()
	current, _, err := p.published()
	p.filing.Unlock()
	if err != nil {
		return nil, err
	}
	var out []ShardInfo
	for platform, now := range current {
		out = append(out, now)
		for _, v := range p.keptVersions(platform) {
			if v != now.Version {
				out = append(out, ShardInfo{Platform: platform, Version: v})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b ShardInfo) int { return int(b.Version - a.Version) })
	return out, nil
}

// strikeBlobs takes the indexes that the shard pins off the list.
func strikeBlobs(list map[string]bool, s *catalog.Shard) error {
	for _, a := range s.Header().Archives {
		for _, b := range blobsOf(a) {
			delete(list, b.SHA256)
		}
	}
	return nil
}

// strikeItems takes the files of the shard's patches off the list.
func strikeItems(list map[string]bool, s *catalog.Shard) error {
	for x, err := range s.Patches() {
		if err != nil {
			return err
		}
		for _, it := range x.Items {
			delete(list, it.Payload.SHA256)
		}
		if len(list) == 0 {
			return nil
		}
	}
	return nil
}
