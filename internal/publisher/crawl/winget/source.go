package winget

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

const (
	// form is the number of the folded form. A change of what folding keeps
	// raises it, and everything is read anew.
	form = 2
	// defaultKeep is how many versions of a line are kept.
	defaultKeep = 3
	// defaultSize bounds an installer, in bytes.
	defaultSize = 2 << 30
	maxFolded   = 1 << 30 // bytes of the folded versions, unpacked
)

// Config says where manifests come from and which packages are followed.
type Config struct {
	// Manifests is the absolute path or file:// address of a folder of
	// manifests (searched whole), or the http(s) address of a folder tree laid
	// out as winget-pkgs lays out "manifests"; that one needs Index.
	Manifests string
	// Index is the path or address of a list of all packages and their newest
	// versions: JSON or CSV as in winget-pkgs-index, winget's own index.db or
	// source.msix; plain or packed with zstd or gzip.
	Index string
	// Packages are the identifiers to follow; "*" stands for any characters
	// but dots, "**" for any. Case does not matter.
	Packages []string
	// Keep is how many versions of each package, architecture and form are
	// kept; 0 means 3.
	Keep int
	// MaxInstaller bounds an installer in bytes; 0 means 2 GiB.
	MaxInstaller int64
	// CVEs is the path or address of CVE records (CVE JSON 5): one file, JSON
	// values one after the other or a tar file; plain, gzip or zstd. Empty
	// leaves CVEs out.
	CVEs string
	// Mozilla is a folder of Mozilla's advisories (a clone of
	// mozilla/foundation-security-advisories), or the path or address of a tar
	// file of them; plain, gzip or zstd. They count before CVE records. Empty
	// leaves them out.
	Mozilla string
	// OtherVersions are packages, as in Packages, whose installers say another
	// version of themselves than the product has.
	OtherVersions []string
	// Verdict tells what became of an installer when it was last examined for a
	// package: whether it was found good, and whether it is known at all. Nil
	// knows of none.
	Verdict func(id, sha256 string) (good, known bool)
	// Progress is told what goes on; it may be nil.
	Progress func(doing string)
}

// Source is a repository of manifests as a source of patches.
type Source struct {
	cfg    Config
	client crawl.Client
	follow follow
	// trusted are the packages whose installers' versions are not compared.
	trusted follow
	folder  string // of manifests; empty means base
	base    string
}

// New makes a source. It returns fault.Invalid for addresses that are neither
// http, https, file nor absolute paths, and when no package is named.
func New(cfg Config, client crawl.Client) (*Source, error) {
	if cfg.Keep <= 0 {
		cfg.Keep = defaultKeep
	}
	if cfg.MaxInstaller <= 0 {
		cfg.MaxInstaller = defaultSize
	}
	s := &Source{cfg: cfg, client: client}
	var err error
	if s.follow, err = newFollow(cfg.Packages); err != nil {
		return nil, err
	}
	if len(cfg.OtherVersions) > 0 {
		if s.trusted, err = newFollow(cfg.OtherVersions); err != nil {
			return nil, err
		}
	}
	if s.folder, s.base, err = place(cfg.Manifests); err != nil {
		return nil, err
	}
	if s.base != "" && cfg.Index == "" {
		return nil, fault.New(fault.Invalid, "winget: manifests at an http address need an index, which says what versions there are").
			WithHint("Set winget.index to source.msix, index.db or a list of packages as JSON or CSV.")
	}
	for _, at := range []*string{&s.cfg.Index, &s.cfg.CVEs, &s.cfg.Mozilla} {
		if *at == "" {
			continue
		}
		dir, base, err := place(*at)
		switch {
		case err != nil:
			return nil, err
		case at == &s.cfg.Mozilla && dir != "": // may be a folder
			base = dir
		case dir != "":
			base = fileAddress(dir)
		}
		*at = base
	}
	return s, nil
}

func fileAddress(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}

// place takes an address apart: the path of what lies on this machine, or the
// address of what does not.
func place(at string) (folder, base string, err error) {
	if filepath.IsAbs(at) {
		return at, "", nil
	}
	u, err := url.Parse(at)
	switch {
	case err != nil || u.Scheme == "":
		return "", "", fault.New(fault.Invalid, "winget: %q is no address and no absolute path", at)
	case u.Scheme == "file":
		return filepath.FromSlash(u.Path), "", nil
	case u.Scheme == "http" || u.Scheme == "https":
		return "", strings.TrimRight(at, "/"), nil
	}
	return "", "", fault.New(fault.Invalid, "winget: the address %q is not http, https or file", at)
}

// Name is "winget".
func (s *Source) Name() string { return "winget" }

// follow are the packages that are wanted.
type follow []string

func newFollow(packages []string) (follow, error) {
	var f follow
	for _, p := range packages {
		p = strings.ToLower(strings.TrimSpace(p))
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return nil, fault.New(fault.Invalid, "winget: %q is no package identifier and no pattern", p)
		}
		f = append(f, p)
	}
	if len(f) == 0 {
		return nil, fault.New(fault.Invalid, "winget: no package is named").
			WithHint("Set winget.packages to identifiers such as Mozilla.Firefox, or to \"**\" for all of a folder of your own.")
	}
	return f, nil
}

// wants reports whether the package is followed.
func (f follow) wants(id string) bool {
	id = strings.ToLower(id)
	slashed := strings.ReplaceAll(id, ".", "/")
	return slices.ContainsFunc(f, func(p string) bool {
		if p == "**" || p == id {
			return true
		}
		if before, ok := strings.CutSuffix(p, ".**"); ok && strings.HasPrefix(id, before+".") {
			return true
		}
		ok, _ := path.Match(strings.ReplaceAll(p, ".", "/"), slashed)
		return ok
	})
}

// Fetch reads the manifests, and brings the installers of the newest versions.
// One that can't be had is told in the patch; the error is not nil when there
// are no manifests at all.
func (s *Source) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	st := s.recall(prev)
	run := &fetching{s: s, dir: dir, st: &st}
	all, err := run.manifests(ctx)
	if err != nil {
		return crawl.Fetched{}, err
	}
	if st.Versions, err = keepJSON(dir, all); err != nil {
		return crawl.Fetched{}, err
	}
	names := namesOf(s.follow, identifiers(all.Versions))
	run.renamed(names)
	if err := run.records(ctx, names); err != nil {
		return crawl.Fetched{}, err
	}
	if err := run.mozilla(ctx, names); err != nil {
		return crawl.Fetched{}, err
	}
	if err := run.installers(ctx, all.Versions); err != nil {
		return crawl.Fetched{}, err
	}
	fp, err := json.Marshal(st)
	if err != nil {
		return crawl.Fetched{}, fault.Wrap(err, fault.Internal, "winget: the state can't be encoded")
	}
	var before bytes.Buffer // as it was handed out; the runner keeps it indented
	if json.Compact(&before, prev) != nil {
		before.Reset()
	}
	return crawl.Fetched{Changed: !bytes.Equal(fp, before.Bytes()), Fingerprint: fp, Notes: run.notes}, nil
}

// fetching is one Fetch.
type fetching struct {
	s     *Source
	dir   string
	st    *state
	notes []string
}

func (f *fetching) say(doing string) {
	if f.s.cfg.Progress != nil {
		f.s.cfg.Progress(doing)
	}
}

func (f *fetching) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// get fetches a document, conditionally; nil means that it has not changed.
func (f *fetching) get(ctx context.Context, at string, limit int64) ([]byte, error) {
	got, err := f.s.client.Get(ctx, fetch.Request{URL: at, Fingerprint: f.st.Seen[at], MaxSize: limit, Expect: fetch.NotHTML})
	if err != nil || got.NotModified {
		return nil, err
	}
	f.st.Seen[at] = got.Fingerprint
	return got.Body, nil
}

// Parse makes the patches.
func (s *Source) Parse(ctx context.Context, dir string, at crawl.Fingerprint) (crawl.Output, error) {
	var st state
	if at == nil || json.Unmarshal(at, &st) != nil || st.Form != form {
		return crawl.Output{}, fault.New(fault.NotFound, "winget: nothing was fetched yet")
	}
	var all folded
	if err := loadJSON(dir, st.Versions, &all); err != nil {
		return crawl.Output{}, err
	}
	if err := ctx.Err(); err != nil {
		return crawl.Output{}, fault.Wrap(err, fault.Cancelled, "winget: stopped")
	}
	var records, bulletins []flaw
	for _, x := range []struct {
		sum  string
		into *[]flaw
	}{{st.Records, &records}, {st.Mozilla, &bulletins}} {
		if x.sum == "" {
			continue
		}
		if err := loadJSON(dir, x.sum, x.into); err != nil {
			return crawl.Output{}, err
		}
	}
	b := s.builder()
	b.sizes, b.reasons, b.said, b.sold, b.flaws = st.Fetched, st.Refused, st.Said, st.Sold, firsthand(bulletins, records)
	b.judged = st.judged
	b.add(all.Versions)
	b.build()
	out := crawl.Output{Patches: b.out, Rejected: append(all.Rejected, b.rejected...), Entries: all.Files, Notes: append(b.tally.notes(), b.notes...)}
	for _, r := range b.rejected[:min(len(b.rejected), 20)] {
		out.Notes = append(out.Notes, "refused: "+r.What+": "+r.Reason)
	}
	if st.Indexed > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("the index names %d packages", st.Indexed))
	}
	if st.Records != "" {
		out.Notes = append(out.Notes, fmt.Sprintf("%d of %d CVE records concern followed packages", len(records), st.Recorded))
	}
	if st.Mozilla != "" {
		out.Notes = append(out.Notes, fmt.Sprintf("%d advisories of Mozilla's were read", st.Bulletins))
	}
	for _, f := range b.flaws {
		out.Vulnerabilities = append(out.Vulnerabilities, patch.Vulnerability{ID: f.CVE, Description: f.Text, Severity: f.Severity})
	}
	for _, id := range sortedKeys(b.bulletin) {
		out.Advisories = append(out.Advisories, b.bulletin[id])
	}
	return out, nil
}

func (s *Source) builder() *builder {
	return &builder{
		keep: s.cfg.Keep, trusted: s.trusted, judged: func(string, string) (bool, bool) { return false, false }, lines: map[line][]release{}, tally: Tally{Left: map[string][]string{}},
		needs: map[patch.ID][]Dependency{}, bulletin: map[string]patch.Advisory{},
	}
}
