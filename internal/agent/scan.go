package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/agent/collect/all"
	"github.com/fettlehq/fettle/internal/agent/probe"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// ScanOptions say what to look at and with which catalog.
type ScanOptions struct {
	// Root is the machine's root folder, "/" for this one.
	Root string
	// Catalog is a shard file, plain or .zst; empty takes those in State.
	Catalog string
	State   Dir
}

// ScanReport is what a scan found. It is the JSON of `fettle-agent scan`.
type ScanReport struct {
	Scanned  time.Time `json:"scanned"`
	Hostname string    `json:"hostname"`
	OS       string    `json:"os"`
	Platform string    `json:"platform"`
	Packages int       `json:"packages"`
	// Catalog is the version of the catalog, Created when it was made.
	Catalog int64     `json:"catalog"`
	Created time.Time `json:"catalog_created,omitzero"`
	Notes   []string  `json:"notes,omitempty"`
	// Missing is what the machine lacks, held and pinned things included,
	// each with its state and the reason.
	Missing       []catalog.Finding `json:"missing"`
	RebootDue     bool              `json:"reboot_due"`
	RebootReasons []string          `json:"reboot_reasons,omitempty"`
	RestartsDue   []string          `json:"restarts_due,omitempty"`
	// Problems are what could not be learned.
	Problems []string `json:"problems,omitempty"`
}

// Scan takes the inventory of a machine and matches it with the catalog. It
// needs no server. Errors: fault.Unsupported for machines without a collector,
// fault.NotFound when there is no catalog for the machine's platform.
func Scan(ctx context.Context, o ScanOptions, now time.Time) (ScanReport, error) {
	snap, problems, err := takeInventory(ctx, o.Root)
	if err != nil {
		return ScanReport{}, err
	}
	shards, err := openShards(o, snap)
	if err != nil {
		return ScanReport{}, err
	}
	defer shards.Close()
	r := report(snap, problems, now)
	h := shards.list[0].Header()
	r.Catalog, r.Created, r.Notes = h.Version, h.Created, h.Notes
	found, err := catalog.Assess(shards.list, &snap, probe.New(ctx, o.Root, &snap))
	if err != nil {
		return ScanReport{}, err
	}
	r.Missing = append([]catalog.Finding{}, found...)
	return r, nil
}

func report(snap inventory.Snapshot, problems []error, now time.Time) ScanReport {
	r := ScanReport{
		Scanned: now.UTC(), Hostname: snap.OS.Hostname, OS: snap.OS.Name, Platform: snap.OS.Platform(), Packages: len(snap.Packages),
		RebootDue: snap.State.RebootDue, RebootReasons: snap.State.RebootReasons, RestartsDue: snap.State.RestartsDue,
	}
	for _, p := range problems {
		r.Problems = append(r.Problems, fault.Public(p))
	}
	return r
}

// Inventory takes stock of the machine whose root folder is given, or, when
// basics is set, of its system and packages alone. problems are sentences about
// what could not be learned.
func Inventory(ctx context.Context, root string, basics bool) (s inventory.Snapshot, problems []string, err error) {
	list := all.List()
	if basics {
		list = all.Basics()
	}
	s, errs, err := gather(ctx, root, list)
	for _, e := range errs {
		problems = append(problems, fault.Public(e))
	}
	return s, problems, err
}

func takeInventory(ctx context.Context, root string) (inventory.Snapshot, []error, error) {
	return gather(ctx, root, all.List())
}

func gather(ctx context.Context, root string, list []collect.Collector) (inventory.Snapshot, []error, error) {
	t, err := collect.Open(root)
	if err != nil {
		return inventory.Snapshot{}, nil, err
	}
	s, problems, err := all.Collect(ctx, t, list)
	return s, flatten(problems), errors.Join(err, t.Close())
}

// flatten takes joined errors apart, so that each is told by itself.
func flatten(in []error) (out []error) {
	for _, err := range in {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			out = append(out, flatten(many.Unwrap())...)
			continue
		}
		out = append(out, err)
	}
	return out
}

// shardSet holds the shards that serve a machine, the native one first.
type shardSet struct {
	list  []*catalog.Shard
	files []*os.File
}

func (s *shardSet) Close() {
	for _, f := range s.files {
		_ = f.Close() // read only
	}
}

func (s *shardSet) add(f *os.File) error {
	s.files = append(s.files, f)
	info, err := f.Stat()
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't read the catalog %s", f.Name())
	}
	shard, err := catalog.Open(f, info.Size())
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "agent: the catalog %s is refused", filepath.Base(f.Name()))
	}
	s.list = append(s.list, shard)
	return nil
}

// openShards opens the catalog file that was named, or the shards of the
// machine's architectures from the state folder.
func openShards(o ScanOptions, snap inventory.Snapshot) (*shardSet, error) {
	set := &shardSet{}
	if o.Catalog != "" {
		f, err := openCatalog(o.Catalog)
		if err == nil {
			err = set.add(f)
		}
		if err != nil {
			set.Close()
			return nil, err
		}
		if got := set.list[0].Header().Platform; got != snap.OS.Platform() {
			set.Close()
			return nil, fault.New(fault.Invalid, "agent: the catalog is for %s, this machine is %s", got, snap.OS.Platform())
		}
		return set, nil
	}
	for i, arch := range append([]string{snap.OS.Arch}, snap.Policy.ForeignArchs...) {
		f, err := os.Open(o.State.Shard(snap.OS.PlatformFor(arch)))
		if err == nil {
			err = set.add(f)
		}
		if err != nil && i == 0 {
			set.Close()
			return nil, fault.Wrap(err, fault.NotFound, "agent: there is no catalog for %s yet", snap.OS.Platform()).
				WithHint("the agent fetches it from its server; to scan without one, name a shard with --catalog FILE")
		}
	}
	return set, nil
}

const maxShardFile = catalog.MaxShard

// openCatalog opens a shard; a compressed one goes through a file that is
// deleted while it is open.
func openCatalog(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "agent: can't open the catalog %s", path)
	}
	if !strings.HasSuffix(path, ".zst") {
		return f, nil
	}
	defer func() { _ = f.Close() }() // read only
	tmp, err := os.CreateTemp("", "fettle-shard-")
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "agent: can't unpack the catalog")
	}
	err = errors.Join(os.Remove(tmp.Name()), unpack(tmp, f, maxShardFile))
	if err != nil {
		return nil, errors.Join(err, tmp.Close())
	}
	return tmp, nil
}

// unpack decompresses zstd, at most limit bytes.
func unpack(w io.Writer, r io.Reader, limit int64) error {
	dec, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return fault.Wrap(err, fault.Internal, "agent: start the decompression")
	}
	defer dec.Close()
	n, err := io.Copy(w, io.LimitReader(dec, limit+1))
	switch {
	case err != nil:
		return fault.Wrap(err, fault.Untrusted, "agent: the catalog can't be unpacked")
	case n > limit:
		return fault.New(fault.Untrusted, "agent: the catalog unpacks to more than %d bytes", limit)
	}
	return nil
}
