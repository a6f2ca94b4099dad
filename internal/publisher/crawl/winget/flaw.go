package winget

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

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
