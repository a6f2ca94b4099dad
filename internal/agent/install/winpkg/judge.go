package winpkg

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// judge compares what Windows lists now with what it listed before. An
// installer that announced success is given a moment, as some end before
// their helpers do.
func (s *session) judge(ctx context.Context) {
	var now []inventory.Package
	read := false
	for start := time.Now(); ; {
		have, err := s.in.stock(ctx)
		if err != nil {
			s.output = append(s.output, "what is installed now can't be read: "+fault.Public(err))
			break
		}
		now, read = have, true
		if s.settled(now) || time.Since(start) > settle || !pause(ctx, settlePause) {
			break
		}
	}
	if read { // an empty list is one, too
		s.res.Changes = s.changes(now)
		s.blameIdle(now)
	}
	text := strings.Join(s.output, "\n")
	s.res.Output = strings.ToValidUTF8(text[max(0, len(text)-deploy.MaxOutput):], "")
}

// settled reports that every change that an installer announced is there.
func (s *session) settled(now []inventory.Package) bool {
	for _, i := range s.idle {
		if s.unmoved(i.patch, now) {
			return false
		}
	}
	for _, st := range s.begun.Steps {
		if st.Undo && !s.failed[st.Patch] && len(machineRows(list(now), s.patch(st.Patch))) > 0 && !s.restored(st.Patch) {
			return false
		}
	}
	return true
}

func (s *session) patch(id patch.ID) patch.Patch {
	for _, p := range slices.Concat(s.job.Patches, s.job.Restored) {
		if p.ID == id {
			return p
		}
	}
	return patch.Patch{}
}

// restored reports that another step puts the product back.
func (s *session) restored(id patch.ID) bool {
	return slices.ContainsFunc(s.begun.Steps, func(o begunStep) bool { return o.Follows == id })
}

// unmoved reports that the product stands in the list as it did before.
func (s *session) unmoved(p patch.Patch, now []inventory.Package) bool {
	before, after := machineRows(list(s.begun.Before), p), machineRows(list(now), p)
	if len(after) == 0 {
		return true
	}
	return len(minus(after, before)) == 0 && !slices.ContainsFunc(after, func(r inventory.Package) bool { return !older(r.Version, version(p)) })
}

// blameIdle says of what did nothing that it did.
func (s *session) blameIdle(now []inventory.Package) {
	for _, i := range s.idle {
		if !s.unmoved(i.patch, now) {
			continue
		}
		still := "does not list it"
		if r := machineRows(list(now), i.patch); len(r) > 0 {
			still = "still lists version " + r[0].Version
		}
		s.fail(step{patch: i.patch}, "its installer ended with exit code "+strconv.FormatInt(i.code, 10)+", but Windows "+still+": it did nothing")
	}
}

// changes are the differences of Windows' list, those of the job's patches first
// and in its order.
func (s *session) changes(now []inventory.Package) []deploy.Change {
	ordered := slices.Concat(s.job.Patches, s.job.Restored)
	rank := func(p inventory.Package) int {
		return slices.IndexFunc(ordered, func(one patch.Patch) bool { return len(machineRows(list([]inventory.Package{p}), one)) > 0 })
	}
	why := func(p inventory.Package) string {
		switch {
		case rank(p) < 0:
			return "came with it"
		case s.job.Operation == deploy.Rollback:
			return "rolled back"
		}
		return "approved"
	}
	order := func(a, b inventory.Package) int {
		return cmp.Compare(uint(rank(a)), uint(rank(b))) // -1 is last
	}
	before, after := slices.Clone(s.begun.Before), slices.Clone(now)
	slices.SortStableFunc(before, order)
	slices.SortStableFunc(after, order)
	return changes(before, after, why)
}
