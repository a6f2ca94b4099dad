package winget

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

const (
	maxRecords = 2 << 30  // bytes of the file of records as it travels
	maxRecord  = 32 << 20 // bytes of one record in a tar file
	maxAll     = 16 << 30 // bytes of all records, unpacked
)

var cveID = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,}$`)

// flaw is what a CVE record says of one package.
type flaw struct {
	CVE        string    `json:"cve"`
	Identifier string    `json:"id"`
	CNA        string    `json:"cna"`
	Vendor     string    `json:"vendor"`
	Product    string    `json:"product"`
	From       string    `json:"from,omitempty"` // first affected version
	Before     string    `json:"before"`         // first fixed version
	Title      string    `json:"title,omitempty"`
	Text       string    `json:"text,omitempty"`
	Published  time.Time `json:"published,omitzero"`
	Updated    time.Time `json:"updated,omitzero"`
	References []string  `json:"references,omitempty"`
	// Bulletin is the maker's own advisory that says so, with its rating;
	// empty when a CVE record does.
	Bulletin string         `json:"bulletin,omitempty"`
	Severity patch.Severity `json:"severity,omitempty"`
}

// record is what counts of a record of CVE JSON 5
// (https://github.com/CVEProject/cve-schema).
type record struct {
	Meta struct {
		ID        string `json:"cveId"`
		State     string `json:"state"`
		Assigner  string `json:"assignerShortName"`
		Published string `json:"datePublished"`
		Updated   string `json:"dateUpdated"`
	} `json:"cveMetadata"`
	Containers struct {
		CNA struct {
			Title        string                   `json:"title"`
			Descriptions []struct{ Value string } `json:"descriptions"`
			Affected     []affected               `json:"affected"`
			References   []struct{ URL string }   `json:"references"`
		} `json:"cna"`
	} `json:"containers"`
}

type affected struct {
	Vendor    string          `json:"vendor"`
	Product   string          `json:"product"`
	Platforms []string        `json:"platforms"`
	Versions  []affectedRange `json:"versions"`
}

type affectedRange struct {
	Version  string            `json:"version"`
	Status   string            `json:"status"`
	LessThan string            `json:"lessThan"`
	Changes  []json.RawMessage `json:"changes"`
}

// readRecords reads CVE records and returns what they say of the named
// products, and how many records there were. The records are JSON values one
// after the other or a tar file of *.json; plain, gzip or zstd. What is not that
// is fault.Invalid. One record at a time is in memory.
func readRecords(ctx context.Context, r io.Reader, names []cveName) ([]flaw, int, error) {
	plain, done, err := unpack(bufio.NewReader(r))
	if err != nil {
		return nil, 0, err
	}
	defer done()
	b := bufio.NewReaderSize(io.LimitReader(plain, maxAll), 64<<10)
	var out []flaw
	n := 0
	take := func(from io.Reader) error {
		dec := json.NewDecoder(from)
		for {
			var rec record
			if err := dec.Decode(&rec); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return fault.Wrap(err, fault.Invalid, "winget: CVE record %d is not JSON of the known form", n+1)
			}
			if err := ctx.Err(); err != nil {
				return fault.Wrap(err, fault.Cancelled, "winget: stopped")
			}
			n++
			out = append(out, rec.flaws(names)...)
		}
	}
	if head, _ := b.Peek(262); len(head) == 262 && bytes.Equal(head[257:262], []byte("ustar")) {
		err = eachFile(b, take)
	} else {
		err = take(b)
	}
	if err == nil && n == 0 {
		err = fault.New(fault.Invalid, "winget: the file holds no CVE record")
	}
	return out, n, err
}

func eachFile(r io.Reader, take func(io.Reader) error) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "winget: the archive of CVE records is damaged")
		}
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(h.Name, ".json") || h.Size > maxRecord {
			continue
		}
		if err := take(t); err != nil {
			return err
		}
	}
}

// flaws are what one record says of the named products: nothing unless it is
// published and its assigner, vendor and product are those of a row.
func (rec record) flaws(names []cveName) []flaw {
	if rec.Meta.State != "PUBLISHED" || !cveID.MatchString(rec.Meta.ID) {
		return nil
	}
	var out []flaw
	for _, name := range names {
		if name.CNA != rec.Meta.Assigner {
			continue
		}
		from, before, ok := rec.affects(name)
		if !ok {
			continue
		}
		out = append(out, rec.flaw(name, from, before))
	}
	return out
}

// affects gives the affected range of a product. It is exact or nothing: one
// range with a first fixed version that compares, for Windows or for all. A
// record with several ranges speaks of branches, and which of them a version
// belongs to can't be told from a number.
func (rec record) affects(name cveName) (from, before string, ok bool) {
	ranges := 0
	for _, a := range rec.Containers.CNA.Affected {
		if a.Vendor != name.Vendor || a.Product != name.Product || !forWindows(a.Platforms) {
			continue
		}
		for _, r := range a.Versions {
			if r.Status != "affected" {
				continue
			}
			ranges++
			if len(r.Changes) > 0 || vercmp.Valid(vercmp.Windows, r.LessThan) != nil {
				return "", "", false
			}
			before = r.LessThan
			switch {
			case open(r):
				from = ""
			case vercmp.Valid(vercmp.Windows, r.Version) == nil && vercmp.WindowsQuad(r.Version, r.LessThan) < 0:
				from = r.Version
			default:
				return "", "", false
			}
		}
	}
	return from, before, ranges == 1
}

// open reports a range without a beginning. Chrome repeats the fixed version.
func open(r affectedRange) bool {
	switch strings.ToLower(r.Version) {
	case "", "0", "*", "unspecified", "n/a", r.LessThan:
		return true
	}
	return false
}

func forWindows(platforms []string) bool {
	return len(platforms) == 0 || slices.ContainsFunc(platforms, func(p string) bool { return strings.Contains(strings.ToLower(p), "windows") })
}

func (rec record) flaw(name cveName, from, before string) flaw {
	f := flaw{
		CVE: rec.Meta.ID, Identifier: name.Identifier, CNA: name.CNA, Vendor: name.Vendor, Product: name.Product, From: from, Before: before,
		Title: short(rec.Containers.CNA.Title, 200), Published: day(rec.Meta.Published), Updated: day(rec.Meta.Updated),
	}
	if d := rec.Containers.CNA.Descriptions; len(d) > 0 {
		f.Text = short(d[0].Value, 1000)
	}
	for _, r := range rec.Containers.CNA.References[:min(5, len(rec.Containers.CNA.References))] {
		if strings.HasPrefix(r.URL, "https://") || strings.HasPrefix(r.URL, "http://") {
			f.References = append(f.References, short(r.URL, 500))
		}
	}
	return f
}

func short(s string, most int) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

func day(s string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC().Truncate(time.Second)
		}
	}
	return time.Time{}
}

// evidence says in a sentence why a record counts for a package.
func (f flaw) evidence() string {
	if f.Bulletin != "" {
		text := f.Bulletin + " of " + f.Vendor + " names " + f.Product + " " + f.Before + " as the first fixed version"
		if f.From != "" {
			text += " of branch " + f.From
		}
		return text + "."
	}
	text := "CVE record " + f.CVE + ", assigned by " + f.CNA + " (the maker itself), names " + f.Vendor + " " + f.Product + ": versions "
	if f.From != "" {
		text += "from " + f.From + " "
	}
	return text + "before " + f.Before + " are affected."
}

// flaws are all that concern followed packages.
type flaws []flaw

// enter enters the CVEs that a version has fixed, and the bulletins about them.
// A product that registers another version than its package has is left alone:
// records and machines would speak of different numbers.
func (fs flaws) enter(p *patch.Patch, r release, before string, into map[string]patch.Advisory) {
	if r.installer.displayVersion(r.version) != r.version.Version {
		return
	}
	for _, f := range fs {
		if !strings.EqualFold(f.Identifier, p.Product) || vercmp.WindowsQuad(f.Before, p.Version) > 0 {
			continue
		}
		a := f.advisory()
		if have, twice := into[a.ID]; twice {
			a.CVEs, a.Fixes = join(have.CVEs, a.CVEs), join(have.Fixes, a.Fixes)
			a.Severity = worse(have.Severity, a.Severity)
		}
		into[a.ID] = a
		p.CVEs = append(p.CVEs, patch.CVEFix{ID: f.CVE, FixedIn: f.Before, From: f.From})
		p.Advisories = join(p.Advisories, []string{a.ID})
		if c := vercmp.WindowsQuad(f.Before, p.Version); c == 0 || before != "" && vercmp.WindowsQuad(f.Before, before) > 0 {
			p.Classification = patch.Security
		}
	}
}

func (f flaw) advisory() patch.Advisory {
	if f.Bulletin != "" {
		return patch.Advisory{
			ID: f.Bulletin, Vendor: f.Vendor, Title: cmp.Or(f.Title, f.Bulletin), Description: f.evidence(), Severity: f.Severity,
			Published: f.Published, CVEs: []string{f.CVE}, References: f.References,
			Fixes: []patch.Fix{{Product: f.Identifier, Release: "windows-apps", Version: f.Before}},
		}
	}
	return patch.Advisory{
		ID: f.CVE + ":" + f.Identifier, Vendor: f.Vendor, Title: cmp.Or(f.Title, short(f.Text, 120), f.CVE), Description: f.evidence() + " " + f.Text,
		Severity: patch.Unknown, Published: f.Published, Updated: f.Updated, CVEs: []string{f.CVE}, References: f.References,
		Fixes: []patch.Fix{{Product: f.Identifier, Release: "windows-apps", Version: f.Before}},
	}
}

// join adds what is not there yet.
func join[T comparable](a, b []T) []T {
	for _, x := range b {
		if !slices.Contains(a, x) {
			a = append(a, x)
		}
	}
	return a
}

func worse(a, b patch.Severity) patch.Severity {
	if b.Rank() > a.Rank() {
		return b
	}
	return a
}

// firsthand are the makers' bulletins, and the records of what no bulletin
// speaks of.
func firsthand(bulletins, records []flaw) flaws {
	type key struct{ cve, id string }
	told := map[key]bool{}
	for _, f := range bulletins {
		told[key{f.CVE, f.Identifier}] = true
	}
	out := slices.Clone(bulletins)
	for _, f := range records {
		if !told[key{f.CVE, f.Identifier}] {
			out = append(out, f)
		}
	}
	return out
}

// renamed makes the next reading of records and bulletins a whole one when they
// are to be searched for other names.
func (f *fetching) renamed(names []cveName) {
	if asked := fmt.Sprint(names); f.st.Asked != asked {
		f.st.Asked, f.st.Records, f.st.Mozilla = asked, "", ""
	}
}

// records reads the CVE records, where they are configured, and keeps what
// concerns followed packages. Records that can't be had leave the last ones in
// force.
func (f *fetching) records(ctx context.Context, names []cveName) error {
	at := f.s.cfg.CVEs
	if at == "" {
		return nil
	}
	f.say("reading CVE records")
	path := crawl.BlobPath(f.dir, ".incoming-records")
	defer func() { _ = os.Remove(path) }() // the next run would write over it
	if f.st.Records == "" {
		delete(f.st.Seen, at)
	}
	got, err := f.s.client.Get(ctx, fetch.Request{URL: at, Fingerprint: f.st.Seen[at], MaxSize: maxRecords, Expect: fetch.NotHTML, File: path})
	if err == nil && got.NotModified {
		return nil
	}
	if err == nil {
		err = f.keepRecords(ctx, path, names)
	}
	if ctx.Err() != nil {
		return fault.Wrap(ctx.Err(), fault.Cancelled, "winget: stopped")
	}
	if err != nil {
		f.note("the CVE records could not be read, those of the last time stay: %s", fault.Public(err))
		return nil
	}
	f.st.Seen[at] = got.Fingerprint
	return nil
}

func (f *fetching) keepRecords(ctx context.Context, path string, names []cveName) error {
	file, err := os.Open(path)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "winget: the fetched CVE records can't be read")
	}
	defer file.Close()
	found, n, err := readRecords(ctx, file, names)
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b flaw) int {
		return cmp.Or(strings.Compare(a.CVE, b.CVE), strings.Compare(a.Identifier, b.Identifier))
	})
	f.st.Recorded = n
	f.st.Records, err = keepJSON(f.dir, found)
	return err
}

// identifiers lists the packages of versions, which are sorted.
func identifiers(all []Version) []string {
	var out []string
	for _, v := range all {
		if len(out) == 0 || out[len(out)-1] != v.Identifier {
			out = append(out, v.Identifier)
		}
	}
	return out
}
