package agent

import (
	"context"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/probe"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// askPatience bounds how long a scan answers the catalog's tests. What is left
// then is unknown, with that reason.
const askPatience = 5 * time.Minute

// nothingAsked stands for catalogs that ask the machine nothing.
const nothingAsked = "nothing"

// answerCatalog adds to the snapshot what the machine itself says to the tests of its
// signed catalog that the inventory does not hold, unless its policy keeps that
// back. asked marks the slices that were gone through, see slicesKept; it is
// empty when that failed, and the next scan tries again.
func answerCatalog(ctx context.Context, cfg Config, snap *inventory.Snapshot) (asked string, err error) {
	p, err := loadPolicy(cfg.PolicyFile)
	if err != nil || !p.answers() {
		snap.Answers.Withheld = true
		return nothingAsked, err
	}
	asked = slicesKept(cfg.State, snap.Platforms())
	asks, err := anyAsks(cfg.State, snap)
	switch {
	case fault.Is(err, fault.NotFound):
		return asked, nil // no catalog yet
	case err != nil:
		return "", err
	case !asks:
		return nothingAsked, nil
	}
	set, err := openVerified(cfg.State, snap) // nobody but the publisher asks
	if err != nil {
		return "", err
	}
	defer set.Close()
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	snap.Answers, err = catalog.Ask(set.list, snap, probe.New(ctx, cfg.Root, snap))
	if err != nil {
		return "", fault.Wrap(err, fault.CodeOf(err), "agent: the catalog's tests can't be answered")
	}
	if n := snap.Answers.LeftOut; n > 0 {
		return asked, fault.New(fault.Exhausted, "agent: the catalog asks for more than a server takes: %d answers are left out", n)
	}
	return asked, nil
}

// Answers adds to an inventory what the server would get besides: what the
// machine itself says to the catalog that its agent keeps.
func Answers(ctx context.Context, cfg Config, snap *inventory.Snapshot) error {
	_, err := answerCatalog(ctx, cfg, snap)
	return err
}

// anyAsks reports whether a slice of the machine's catalog may ask something;
// fault.NotFound when there is none.
func anyAsks(d Dir, snap *inventory.Snapshot) (bool, error) {
	set, err := openShards(ScanOptions{State: d}, snap)
	if err != nil {
		return false, err
	}
	defer set.Close()
	for _, s := range set.list {
		if s.Asks() {
			return true, nil
		}
	}
	return false, nil
}

// slicesKept names the very slices of the catalog that are kept for the
// platforms; empty when there is none.
func slicesKept(d Dir, platforms []string) string {
	var all []string
	for _, p := range platforms {
		if have, err := keptShard(d, p); err == nil {
			all = append(all, p+"="+have.SHA256)
		}
	}
	return strings.Join(all, " ")
}

// askedAnew reports whether the catalog may ask the machine something that its
// last scan has not answered.
func (s *summary) askedAnew(d Dir) bool {
	return s.Asked != nothingAsked && s.Asked != slicesKept(d, s.Platforms)
}
