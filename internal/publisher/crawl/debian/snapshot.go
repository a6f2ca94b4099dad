package debian

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// state is the fingerprint of both sources of this package.
type state struct {
	Suites []*suite `json:"suites"`
}

// suite is what is remembered of one suite of one archive.
type suite struct {
	// Key tells suites apart; it does not name the mirror, so that a change
	// of mirror does not open the way back in time.
	Key     string   `json:"key"`
	Current snapshot `json:"current"`
	// Old are superseded snapshots, newest first, that alone hold something.
	Old []snapshot `json:"old,omitempty"`
	// Seen is fetch's fingerprint of the current InRelease.
	Seen string `json:"seen,omitempty"`
}

// snapshot is one verified state of a suite. Its InRelease and indexes lie as
// blobs in the source's folder.
type snapshot struct {
	Archive catalog.Archive `json:"archive"`
	// Release is the distribution's release that it is for: "debian-12".
	Release string `json:"release"`
	// Unnumbered says that nobody knows the number of that release, so that
	// Release ends with the code name.
	Unnumbered bool `json:"unnumbered,omitempty"`
	// Vendor is who signs it; Own says that the vendor makes the
	// distribution itself, so that its patches need no further name.
	Vendor string `json:"vendor"`
	Own    bool   `json:"own"`
	// URI is the archive's base, to which package file names are relative.
	URI string `json:"uri,omitempty"`
	// SupersededAt is when a newer one came.
	SupersededAt time.Time `json:"superseded_at,omitzero"`
}

func decodeState(fp crawl.Fingerprint) (state, error) {
	var s state
	if fp == nil {
		return s, nil
	}
	if err := json.Unmarshal(fp, &s); err != nil {
		return s, fault.Wrap(err, fault.Internal, "debian: the remembered state of the archives is damaged")
	}
	return s, nil
}

func (s state) encode() (crawl.Fingerprint, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "debian: the state of the archives can't be encoded")
	}
	return data, nil
}

func (s state) find(key string) *suite {
	for _, x := range s.Suites {
		if x.Key == key {
			return x
		}
	}
	return nil
}

// blobs names the files that the state needs.
func (s state) blobs() []string {
	var out []string
	for _, x := range s.Suites {
		for _, snap := range x.all() {
			out = append(out, snap.Archive.InRelease.SHA256)
			for _, ix := range snap.Archive.Indexes {
				out = append(out, ix.Blob.SHA256)
			}
		}
	}
	return out
}

// all gives the snapshots of a suite, newest first.
func (s *suite) all() []snapshot { return append([]snapshot{s.Current}, s.Old...) }

// advance makes next the current snapshot of the suite and keeps what it
// replaces, as long as that is younger than keep and holds a package version
// that nothing newer has. It reports whether anything changed.
func (s *suite) advance(ctx context.Context, dir string, next snapshot, now time.Time, keep time.Duration) (bool, error) {
	before := len(s.Old)
	switch {
	case s.Current.Archive.ID == "":
		s.Current = next
		return true, nil
	case s.Current.Archive.ID != next.Archive.ID:
		old := s.Current
		old.SupersededAt, old.Archive.Superseded = now, true
		s.Old = append([]snapshot{old}, s.Old...)
		s.Current = next
		s.renumber()
		return true, s.prune(ctx, dir, now, keep)
	}
	changed := !slices.Equal(s.Current.Archive.Indexes, next.Archive.Indexes) ||
		s.Current.Release != next.Release || s.Current.Unnumbered != next.Unnumbered || s.Current.Archive.Security != next.Archive.Security ||
		!slices.Equal(s.Current.Archive.Signers, next.Archive.Signers)
	s.Current = next
	s.renumber()
	s.Old = slices.DeleteFunc(s.Old, func(o snapshot) bool { return now.Sub(o.SupersededAt) > keep })
	return changed || len(s.Old) != before, nil
}

// prune drops superseded snapshots that are too old or hold nothing alone.
func (s *suite) prune(ctx context.Context, dir string, now time.Time, keep time.Duration) error {
	seen := map[uint64]bool{}
	seed := maphash.MakeSeed()
	alone := func(snap snapshot) (bool, error) {
		found := false
		err := eachPackage(ctx, dir, snap, func(_ catalog.Index, p Package) {
			k := maphash.String(seed, p.Name+"\x00"+p.Arch+"\x00"+p.Version+"\x00"+p.SHA256)
			found = found || !seen[k]
			seen[k] = true
		}, func(crawl.Rejection) {})
		return found, err
	}
	if _, err := alone(s.Current); err != nil {
		return err
	}
	var kept []snapshot
	for _, old := range s.Old {
		if now.Sub(old.SupersededAt) > keep {
			continue
		}
		holds, err := alone(old)
		if err != nil {
			return err
		}
		if holds {
			kept = append(kept, old)
		}
	}
	s.Old = kept
	return nil
}

// renumber lets superseded snapshots whose release's number was not known have
// the one that is known now.
func (s *suite) renumber() {
	for i := range s.Old {
		if o := &s.Old[i]; o.Unnumbered && o.Archive.Codename == s.Current.Archive.Codename {
			o.Release, o.Own, o.Unnumbered = s.Current.Release, s.Current.Own, s.Current.Unnumbered
		}
	}
}

// numberReleases fills in the release of own suites that give no number: from
// siblings that share their code name, as bookworm-backports from bookworm,
// else from what names knows. A suite that neither numbers is for machines that
// go by the code name, such as Debian's testing.
func numberReleases(snaps []*snapshot, version map[*snapshot]string, names Names) {
	byCode := map[string]string{}
	for _, s := range snaps {
		if v := version[s]; v != "" {
			byCode[s.Vendor+"/"+baseCodename(s.Archive.Codename)] = v
		}
	}
	for _, s := range snaps {
		if s.Release != "" {
			continue
		}
		base := baseCodename(s.Archive.Codename)
		v := cmp.Or(byCode[s.Vendor+"/"+base], names(s.Vendor, base))
		if v == "" {
			v, s.Unnumbered = strings.ToLower(base), true
		}
		s.Release = s.Vendor + "-" + v
	}
}

// unnumbered tells of the releases whose number is not known: what is published
// for them reaches no machine that goes by a number. remedy says where the
// configuration can name it.
func (s state) unnumbered(remedy string) []string {
	suites := map[string][]string{}
	for _, x := range s.Suites {
		if x.Current.Unnumbered {
			suites[x.Current.Release] = append(suites[x.Current.Release], x.Current.Archive.Path)
		}
	}
	var out []string
	for _, release := range slices.Sorted(maps.Keys(suites)) {
		out = append(out, fmt.Sprintf("%s: no Release file gives a version, so that the patches are published for %s alone; "+
			"machines that go by a number, such as debian-12, are told that they lack nothing of it. If it is for them, %s",
			strings.Join(suites[release], ", "), release, remedy))
	}
	return out
}

// held names the snapshots of a fingerprint.
func held(at crawl.Fingerprint) []string {
	s, err := decodeState(at)
	if err != nil {
		return nil
	}
	var out []string
	for _, x := range s.Suites {
		for _, snap := range x.all() {
			out = append(out, snap.Archive.ID)
		}
	}
	return out
}
