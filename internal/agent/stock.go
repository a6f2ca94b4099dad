package agent

import (
	"context"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/wire"
)

// summary is what the agent keeps in memory of a scan.
type summary struct {
	Root     string              `json:"root"`
	Sections []inventory.Section `json:"sections"` // hashes, no bodies
	Scanned  time.Time           `json:"scanned"`
	BootID   string              `json:"boot_id,omitempty"`
	BootTime time.Time           `json:"boot_time,omitzero"`
	// Platforms are the catalog slices that serve the machine.
	Platforms []string `json:"platforms"`
	RebootDue bool     `json:"reboot_due,omitempty"`
	Packages  int      `json:"packages"`
	// Asked are the slices whose tests the machine has answered, see answerCatalog.
	Asked    string   `json:"asked,omitempty"`
	Problems []string `json:"problems,omitempty"`
}

// takeStock scans and keeps the sections for later uploads.
func takeStock(ctx context.Context, cfg Config, now time.Time) (*summary, error) {
	snap, problems, err := takeInventory(ctx, cfg.Root)
	if err != nil {
		return nil, err
	}
	return keepStock(ctx, cfg, snap, problems, now)
}

// bootDrift is how far the boot time, which the kernel derives from the wall
// clock, may move within one boot without being a change.
const bootDrift = 10 * time.Minute

// keepStock has the machine answer its catalog and keeps the sections.
func keepStock(ctx context.Context, cfg Config, snap inventory.Snapshot, problems []error, now time.Time) (*summary, error) {
	asked, err := answerCatalog(ctx, cfg, &snap)
	if err != nil {
		problems = append(problems, err)
	}
	if old, err := cfg.State.readSummary(); err == nil && old.BootID == snap.State.BootID && old.BootTime.Sub(snap.State.BootTime).Abs() < bootDrift {
		snap.State.BootTime = old.BootTime
	}
	sections, err := inventory.Split(snap)
	if err != nil {
		return nil, err
	}
	s := &summary{
		Root: inventory.Root(sections), Scanned: now.UTC().Truncate(time.Second), BootID: snap.State.BootID,
		BootTime: snap.State.BootTime, RebootDue: snap.State.RebootDue, Packages: len(snap.Packages),
		Platforms: snap.Platforms(), Asked: asked,
	}
	for _, p := range problems {
		s.Problems = append(s.Problems, fault.Public(p))
	}
	if err := writeJSON(cfg.State.inventory(), wire.Sections{Root: s.Root, Scanned: s.Scanned, Sections: sections}); err != nil {
		return nil, err
	}
	for _, sec := range sections {
		s.Sections = append(s.Sections, inventory.Section{Name: sec.Name, Hash: sec.Hash})
	}
	return s, writeJSON(cfg.State.summary(), s)
}

func (d Dir) readSummary() (summary, error) {
	var s summary
	err := readJSON(d.summary(), &s)
	if err == nil && len(s.Platforms) == 0 {
		err = fault.New(fault.Invalid, "agent: %s is damaged", d.summary())
	}
	return s, err
}

// upload sends the wanted sections of the last scan.
func upload(ctx context.Context, cfg Config, want []inventory.SectionName) error {
	var all wire.Sections
	if err := readJSON(cfg.State.inventory(), &all); err != nil {
		return err
	}
	send := wire.Sections{Root: all.Root, Scanned: all.Scanned}
	for _, s := range all.Sections {
		for _, w := range want {
			if s.Name == w {
				send.Sections = append(send.Sections, s)
			}
		}
	}
	id, err := cfg.State.identity()
	if err != nil {
		return err
	}
	c, err := id.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	return c.PutSections(ctx, send)
}
