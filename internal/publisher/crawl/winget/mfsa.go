package winget

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

var (
	mfsaFile = regexp.MustCompile(`^mfsa(20[0-9]{2}-[0-9]{1,4})\.yml$`)
	fixedIn  = regexp.MustCompile(`^([A-Za-z ]+) ([0-9][0-9.]*)$`)
)

// mfsa is one of Mozilla's security advisories, as
// mozilla/foundation-security-advisories keeps them.
type mfsa struct {
	Announced  string   `yaml:"announced"`
	Title      string   `yaml:"title"`
	FixedIn    []string `yaml:"fixed_in"`
	Advisories map[string]struct {
		Title  string `yaml:"title"`
		Impact string `yaml:"impact"`
	} `yaml:"advisories"`
}

// parseMFSA reads one advisory and returns what it says of the named products,
// which "fixed_in" names with the first fixed version: "Firefox ESR 140.12". A
// long-term release is fixed branch by branch, so its advisory speaks of its own
// branch alone. What is no advisory is fault.Invalid.
func parseMFSA(name string, data []byte, names []cveName) ([]flaw, error) {
	id := mfsaFile.FindStringSubmatch(name)
	if id == nil {
		return nil, fault.New(fault.Invalid, "winget: %q is not the name of an advisory of Mozilla's", clip(name))
	}
	var root yaml.Node
	var a mfsa
	err := yaml.Unmarshal(data, &root)
	if left := maxNodes; err != nil || !plain(&root, maxDepth, &left) || root.Decode(&a) != nil || len(a.FixedIn) == 0 {
		return nil, fault.Wrap(err, fault.Invalid, "winget: %s does not have the form of an advisory of Mozilla's", name)
	}
	at, _ := time.Parse("January 2, 2006", a.Announced) // without a date it counts all the same
	var out []flaw
	for _, fixed := range a.FixedIn {
		m := fixedIn.FindStringSubmatch(strings.TrimSpace(fixed))
		if m == nil || vercmp.Valid(vercmp.Windows, m[2]) != nil {
			continue
		}
		for _, n := range names {
			if n.Vendor != "Mozilla" || n.Product != m[1] {
				continue
			}
			for _, cve := range sortedKeys(a.Advisories) {
				if !cveID.MatchString(cve) {
					continue
				}
				f := flaw{
					CVE: cve, Identifier: n.Identifier, CNA: n.CNA, Vendor: n.Vendor, Product: n.Product, Before: m[2], Published: at,
					Bulletin: "MFSA" + id[1], Title: short(a.Title, 200), Text: short(a.Advisories[cve].Title, 500), Severity: impact(a.Advisories[cve].Impact),
					References: []string{"https://www.mozilla.org/security/advisories/mfsa" + id[1] + "/"},
				}
				if strings.HasSuffix(n.Product, " ESR") {
					f.From, _, _ = strings.Cut(m[2], ".")
				}
				out = append(out, f)
			}
		}
	}
	return out, nil
}

// impact puts Mozilla's rating into ours
// (https://wiki.mozilla.org/Security_Severity_Ratings).
func impact(word string) patch.Severity {
	switch strings.ToLower(word) {
	case "critical":
		return patch.Critical
	case "high":
		return patch.Important
	case "moderate":
		return patch.Moderate
	case "low":
		return patch.Low
	}
	return patch.Unknown
}

// readMFSA reads the advisories of a tar file, plain, gzip or zstd, and counts
// them. One that is damaged makes the whole fault.Invalid.
func readMFSA(ctx context.Context, r io.Reader, names []cveName) ([]flaw, int, error) {
	b, done, err := unpack(bufio.NewReader(r))
	if err != nil {
		return nil, 0, err
	}
	defer done()
	t := tar.NewReader(io.LimitReader(b, maxListing))
	var out []flaw
	for n := 0; ; {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return unambiguous(out), n, nil
		case err != nil:
			return nil, n, fault.Wrap(err, fault.Invalid, "winget: this is no archive of Mozilla's advisories, or it is damaged")
		case ctx.Err() != nil:
			return nil, n, fault.Wrap(ctx.Err(), fault.Cancelled, "winget: stopped")
		}
		name := path.Base(h.Name)
		if h.Typeflag != tar.TypeReg || h.Size > MaxManifest || !mfsaFile.MatchString(name) {
			continue
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return nil, n, fault.Wrap(err, fault.Invalid, "winget: the archive of Mozilla's advisories is cut off")
		}
		one, err := parseMFSA(name, data, names)
		if err != nil {
			return nil, n, err
		}
		n++
		out = append(out, one...)
	}
}

// folderMFSA reads the advisories of a folder, such as a clone of Mozilla's
// repository.
func folderMFSA(ctx context.Context, dir string, names []cveName) ([]flaw, int, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, 0, fault.Wrap(err, fault.NotFound, "winget: the folder of Mozilla's advisories can't be opened")
	}
	defer root.Close()
	var out []flaw
	n := 0
	files, err := filepath.Glob(filepath.Join(dir, "mfsa*.yml"))
	more, err2 := filepath.Glob(filepath.Join(dir, "*", "*", "mfsa*.yml"))
	if err != nil || err2 != nil {
		return nil, 0, fault.New(fault.Invalid, "winget: the folder of Mozilla's advisories has a strange name")
	}
	for _, file := range append(files, more...) {
		if ctx.Err() != nil {
			return nil, n, fault.Wrap(ctx.Err(), fault.Cancelled, "winget: stopped")
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil || !mfsaFile.MatchString(filepath.Base(file)) {
			continue
		}
		data, err := root.ReadFile(rel)
		if err != nil {
			return nil, n, fault.Wrap(err, fault.Unavailable, "winget: %s can't be read", rel)
		}
		one, err := parseMFSA(filepath.Base(file), data, names)
		if err != nil {
			return nil, n, err
		}
		n++
		out = append(out, one...)
	}
	if n == 0 {
		return nil, 0, fault.New(fault.NotFound, "winget: the folder holds no advisory of Mozilla's")
	}
	return unambiguous(out), n, nil
}

// unambiguous leaves out what several advisories give several first fixed
// versions for: the products have branches under one name.
func unambiguous(all []flaw) []flaw {
	type key struct{ cve, id, from string }
	versions := map[key]map[string]bool{}
	for _, f := range all {
		k := key{f.CVE, f.Identifier, f.From}
		if versions[k] == nil {
			versions[k] = map[string]bool{}
		}
		versions[k][f.Before] = true
	}
	return slices.DeleteFunc(all, func(f flaw) bool { return len(versions[key{f.CVE, f.Identifier, f.From}]) > 1 })
}

// mozilla reads the advisories, where they are configured. As with the records,
// those that can't be had leave the last ones in force.
func (f *fetching) mozilla(ctx context.Context, names []cveName) error {
	at := f.s.cfg.Mozilla
	if at == "" {
		return nil
	}
	f.say("reading Mozilla's advisories")
	found, n, err := f.readMozilla(ctx, at, names)
	switch {
	case ctx.Err() != nil:
		return fault.Wrap(ctx.Err(), fault.Cancelled, "winget: stopped")
	case err != nil:
		f.note("Mozilla's advisories could not be read, those of the last time stay: %s", fault.Public(err))
		return nil
	case n == 0: // not modified
		return nil
	}
	f.st.Bulletins = n
	f.st.Mozilla, err = keepJSON(f.dir, found)
	return err
}

func (f *fetching) readMozilla(ctx context.Context, at string, names []cveName) ([]flaw, int, error) {
	if info, err := os.Stat(at); err == nil && info.IsDir() {
		return folderMFSA(ctx, at, names)
	}
	if filepath.IsAbs(at) {
		at = fileAddress(at)
	}
	file := crawl.BlobPath(f.dir, ".incoming-mfsa")
	defer func() { _ = os.Remove(file) }() // the next run would write over it
	if f.st.Mozilla == "" {
		delete(f.st.Seen, at)
	}
	got, err := f.s.client.Get(ctx, fetch.Request{URL: at, Fingerprint: f.st.Seen[at], MaxSize: maxIndex, Expect: fetch.NotHTML, File: file})
	if err != nil || got.NotModified {
		return nil, 0, err
	}
	r, err := os.Open(file)
	if err != nil {
		return nil, 0, fault.Wrap(err, fault.Unavailable, "winget: the fetched advisories can't be read")
	}
	defer r.Close()
	found, n, err := readMFSA(ctx, r, names)
	if err == nil {
		f.st.Seen[at] = got.Fingerprint
	}
	return found, n, err
}
