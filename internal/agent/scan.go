package agent

import (
	"context"
	"errors"
	"slices"
	"time"

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
	// Catalog is the version of the catalog, Created when it was made, Slices
	// are the platforms of it that were there to compare with.
	Catalog int64     `json:"catalog"`
	Created time.Time `json:"catalog_created,omitzero"`
	Slices  []string  `json:"slices"`
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
	shards, err := openShards(o, &snap)
	if err != nil {
		return ScanReport{}, err
	}
	defer shards.Close()
	r := report(snap, problems, now)
	for _, s := range shards.list {
		h := s.Header()
		if h.Version >= r.Catalog {
			r.Catalog, r.Created = h.Version, h.Created
		}
		r.Slices, r.Notes = append(r.Slices, h.Platform), append(r.Notes, h.Notes...)
	}
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

// stateCollector is the name of the collector that knows the boot, on every
// kind of machine.
const stateCollector = "state"

// bootID is the system's name for this boot, "" where it has none: taken from
// the collector that puts it into the inventory, so that both are the same.
func bootID(ctx context.Context, root string) string {
	states := slices.DeleteFunc(all.List(), func(c collect.Collector) bool { return c.Name != stateCollector })
	snap, _, err := gather(ctx, root, states)
	if err != nil {
		return ""
	}
	return snap.State.BootID
}
