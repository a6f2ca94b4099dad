package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/aptget"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// Apt is what Machine needs of the machine's apt; *aptget.Apt is it.
type Apt interface {
	Update(ctx context.Context, progress aptget.Progress) (aptget.Report, error)
	Indexes(ctx context.Context) ([]aptget.Index, error)
	Sources() ([]aptget.Source, error)
	TrustedKeyrings() ([]string, error)
	Download(ctx context.Context, specs []aptget.Spec, dir string, progress aptget.Progress) ([]aptget.File, error)
}

// Machine is the source that gives what the machine's own apt sources offer.
type Machine struct {
	apt      Apt
	platform string
	opt      Options
}

// NewMachine makes the source. platform is the machine's own release, such as
// "debian-12": archives of vendors who make no distribution are for it.
func NewMachine(apt Apt, platform string, opt Options) *Machine {
	return &Machine{apt: apt, platform: platform, opt: opt.withDefaults()}
}

// Name is "apt".
func (m *Machine) Name() string { return "apt" }

// Blobs names the files that a fingerprint needs.
func (m *Machine) Blobs(at crawl.Fingerprint) []string {
	s, err := decodeState(at)
	if err != nil {
		return nil
	}
	return s.blobs()
}

// Parse makes patches of what Fetch brought.
func (m *Machine) Parse(ctx context.Context, dir string, at crawl.Fingerprint) (crawl.Output, error) {
	s, err := decodeState(at)
	if err != nil {
		return crawl.Output{}, err
	}
	out, err := parse(ctx, dir, s)
	out.Notes = s.unnumbered("name this archive under archives in the publisher's configuration, with 'release: debian-12' or whichever it is")
	return out, err
}

// Fetch lets apt update its private lists and takes over each suite that is
// proven. A suite that apt could not refresh or that fails a check stays as it
// was and is named in the notes; only when not one suite is usable does the
// whole fail.
func (m *Machine) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	old, err := decodeState(prev)
	if err != nil {
		return crawl.Fetched{}, err
	}
	report, updateErr := m.apt.Update(ctx, func(percent float64, doing string) {
		m.opt.Progress(fmt.Sprintf("%.0f %% %s", percent, doing))
	})
	if ctx.Err() != nil {
		return crawl.Fetched{}, fault.Wrap(ctx.Err(), fault.Cancelled, "debian: stopped")
	}
	suites, err := m.suites(ctx)
	if err != nil {
		return crawl.Fetched{}, errors.Join(updateErr, err)
	}
	out := crawl.Fetched{Notes: updateNotes(report, updateErr)}
	next, changed, notes := m.take(ctx, dir, old, suites)
	out.Notes = append(out.Notes, notes...)
	if len(next.Suites) == 0 {
		return crawl.Fetched{}, fault.Wrap(updateErr, fault.Unavailable, "debian: apt gave no usable index: %s", strings.Join(out.Notes, "; ")).
			WithHint("Run apt-get update on this machine and mend what it complains about.")
	}
	out.Changed = changed || len(next.Suites) != len(old.Suites)
	out.Fingerprint, err = next.encode()
	return out, err
}

// updateNotes puts into words which indexes apt could not refresh. Host names
// of mirrors stay out: notes are published.
func updateNotes(report aptget.Report, err error) []string {
	var notes []string
	for _, f := range report.Failures {
		fields := strings.Fields(f.Index)
		if len(fields) > 1 {
			fields = fields[1:] // the first is the mirror
		}
		notes = append(notes, "apt could not refresh "+strings.Join(fields, " ")+"; its last good state stays in use")
	}
	if err != nil && len(notes) == 0 {
		notes = append(notes, "apt-get update failed; what it fetched before stays in use: "+fault.Public(err))
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}

// machineSuite is one signed file on disk with its indexes.
type machineSuite struct {
	origin  origin
	key     string
	file    string // InRelease
	label   string
	indexes []aptget.Index
	err     error
}

// suites groups apt's indexes by the signed file that vouches for them and
// finds the keys that each source demands.
func (m *Machine) suites(ctx context.Context) ([]*machineSuite, error) {
	indexes, err := m.apt.Indexes(ctx)
	if err != nil {
		return nil, err
	}
	sources, err := m.apt.Sources()
	if err != nil {
		return nil, err
	}
	trusted, err := m.apt.TrustedKeyrings()
	if err != nil {
		return nil, err
	}
	byEntry := map[string]aptget.Source{}
	for _, s := range sources {
		if s.Type == "deb" {
			byEntry[s.Entry+" "+strings.TrimSuffix(s.URI, "/")+" "+s.Suite] = s
			if _, ok := byEntry[s.Entry]; !ok {
				byEntry[s.Entry] = s
			}
		}
	}
	var out []*machineSuite
	byFile := map[string]*machineSuite{}
	for _, ix := range indexes {
		file := ix.InRelease
		id := file + ix.Release
		if byFile[id] == nil {
			src, ok := byEntry[ix.Entry+" "+strings.TrimSuffix(ix.RepoURI, "/")+" "+ix.Dist]
			if !ok {
				src = byEntry[ix.Entry]
			}
			byFile[id] = m.suite(ix, src, trusted)
			out = append(out, byFile[id])
		}
		byFile[id].indexes = append(byFile[id].indexes, ix)
	}
	return out, nil
}

func (m *Machine) suite(ix aptget.Index, src aptget.Source, trusted []string) *machineSuite {
	s := &machineSuite{file: ix.InRelease, label: ix.Dist}
	s.origin = origin{path: ix.Dist, fallback: m.platform, uri: ix.RepoURI}
	path := ix.RepoURI
	if u, err := url.Parse(ix.RepoURI); err == nil {
		s.origin.site, path = u.Hostname(), u.Path
	}
	s.key = vendorName(ix.Origin) + " " + strings.Trim(path, "/") + " " + ix.Dist
	if s.file == "" {
		s.err = fault.New(fault.Unsupported, "debian: %s offers no InRelease file (only Release and Release.gpg), which Fettle needs", ix.Dist)
		return s
	}
	if len(src.SignedBy.Keyrings) > 0 {
		s.origin.keyring = src.SignedBy.Keyrings[0]
	}
	s.origin.keys, s.err = loadKeys(src.SignedBy.Keyrings, src.SignedBy.Armored, src.SignedBy.Fingerprints, trusted)
	return s
}

// take brings every suite in. What fails keeps its previous state.
func (m *Machine) take(ctx context.Context, dir string, old state, suites []*machineSuite) (next state, changed bool, notes []string) {
	now := m.opt.Now()
	proven := make([]signed, len(suites))
	snaps := make([]*snapshot, len(suites))
	numbers := map[*snapshot]string{}
	for i, s := range suites {
		known := old.find(s.key)
		if s.err == nil {
			proven[i], s.err = s.prove(known, now)
		}
		if s.err == nil {
			snap, number := proven[i].place(s.origin)
			snaps[i], numbers[&snap] = &snap, number
		}
	}
	numberReleases(slices.DeleteFunc(slices.Clone(snaps), func(s *snapshot) bool { return s == nil }), numbers, m.opt.Names)
	for i, s := range suites {
		entry := old.find(s.key)
		if entry == nil {
			entry = &suite{Key: s.key}
		}
		if s.err == nil {
			m.opt.Progress("reading " + s.label)
			var c bool
			c, s.err = m.bring(ctx, dir, entry, s, proven[i], *snaps[i])
			changed = changed || c
		}
		if s.err != nil {
			notes = append(notes, s.label+": "+fault.Public(s.err))
		}
		if entry.Current.Archive.ID == "" {
			continue
		}
		if e := expired(entry.Current.Archive, now); e != "" {
			notes = append(notes, e)
		}
		next.Suites = append(next.Suites, entry)
	}
	sort.Strings(notes)
	return next, changed, notes
}

// prove verifies the suite's InRelease and that it is no step back.
func (s *machineSuite) prove(known *suite, now time.Time) (signed, error) {
	raw, err := os.ReadFile(s.file)
	if err != nil {
		return signed{}, fault.Wrap(err, fault.Unavailable, "debian: can't read the InRelease that apt fetched")
	}
	p, err := verifyInRelease(raw, s.origin, now)
	if err == nil && known != nil {
		err = p.notBefore(known.Current.Archive)
	}
	return p, err
}

func (m *Machine) bring(ctx context.Context, dir string, entry *suite, s *machineSuite, p signed, snap snapshot) (bool, error) {
	var wanted []indexSource
	for _, ix := range s.indexes {
		wanted = append(wanted, indexSource{
			name: ix.MetaKey, component: ix.Component, arch: ix.Architecture,
			open: func(context.Context, ReleaseFile) (io.ReadCloser, error) { return aptget.OpenIndex(ix.Path) },
		})
	}
	a, err := intake(ctx, dir, p, entry.all(), wanted)
	if err != nil {
		return false, err
	}
	snap.Archive = a
	return entry.advance(ctx, dir, snap, m.opt.Now(), m.opt.Keep)
}

// Holds names the snapshots whose payloads apt may fetch.
func (m *Machine) Holds(at crawl.Fingerprint) []string { return held(at) }

// Payloads lets apt download the items into dir, which must exist, and returns
// the files' paths by SHA-256. Whether the bytes are right is for the caller
// to prove.
func (m *Machine) Payloads(ctx context.Context, _ crawl.Fingerprint, items []crawl.Wanted, dir string) (map[string]string, error) {
	specs := make([]aptget.Spec, 0, len(items))
	for _, w := range items {
		arch := w.Item.Arch
		if arch == "all" {
			arch = "" // apt knows them under the native architecture
		}
		specs = append(specs, aptget.Spec{Name: w.Item.Name, Arch: arch, Version: w.Item.Version})
	}
	files, err := m.apt.Download(ctx, specs, dir, func(percent float64, doing string) {
		m.opt.Progress(fmt.Sprintf("%.0f %% %s", percent, doing))
	})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for i, f := range files {
		out[items[i].Item.Payload.SHA256] = f.Path
	}
	return out, nil
}
