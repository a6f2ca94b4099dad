package microsoft

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/updatecatalog"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// Catalog says what is asked of the Microsoft Update Catalog. Its pages are for
// people, so only what is named is asked, once.
type Catalog struct {
	// Address is the catalog's ("default" is Microsoft's own); empty asks
	// nothing.
	Address string
	// KBs are asked for all releases of Windows, such as "KB5034127".
	KBs []string
	// Follow names catalog slices, such as "windows-11-23h2-amd64", of which
	// the Newest (at least one) cumulative updates are asked.
	Follow []string
	Newest int
	// Prove names KBs whose files are fetched, so that they can be installed;
	// "*" is all that are asked. Cumulative updates have hundreds of megabytes.
	Prove []string
}

// catalog asks for what is wanted and not there yet. A page that can't be had or
// read leaves what it said before in force and is named in the notes.
func (f *fetching) catalog(ctx context.Context) error {
	cfg := f.s.cfg.Catalog
	if cfg.Address == "" {
		f.st.Pages = nil
		return nil
	}
	wanted, err := f.wanted(ctx)
	if err != nil {
		return err
	}
	for _, kb := range sortedKeys(wanted) {
		if f.st.Pages[kb].Seen == wanted[kb] {
			continue
		}
		f.say("asking the Update Catalog for KB" + kb)
		err := f.ask(ctx, cfg.Address, kb, wanted[kb])
		if err != nil && (crawl.Stopped(err) || ctx.Err() != nil) {
			return fault.Wrap(err, fault.Cancelled, "microsoft: stopped")
		}
		if err != nil {
			f.notes = append(f.notes, "the Update Catalog's pages of KB"+kb+": "+fault.Public(err))
		}
	}
	for kb := range f.st.Pages {
		if wanted[kb] == "" {
			delete(f.st.Pages, kb)
		}
	}
	return nil
}

// wanted are the KBs to ask for, each with the platforms that it is asked for;
// "*" is all.
func (f *fetching) wanted(ctx context.Context) (map[string]string, error) {
	cfg := f.s.cfg.Catalog
	out := map[string]string{}
	for _, kb := range cfg.KBs {
		out[strings.TrimPrefix(strings.ToUpper(kb), "KB")] = "*"
	}
	for _, id := range f.s.Asked() {
		platform, kb, ok := placeOf(id)
		if ok && out[kb] != "*" && !slices.Contains(strings.Fields(out[kb]), platform) {
			out[kb] = strings.TrimSpace(out[kb] + " " + platform)
		}
	}
	if len(cfg.Follow) == 0 || len(f.st.Documents) == 0 {
		return out, nil
	}
	all, err := f.s.build(ctx, f.dir, *f.st)
	if err != nil {
		return nil, err
	}
	for _, platform := range cfg.Follow {
		for _, p := range newestCumulative(all.Patches, platform, max(cfg.Newest, 1)) {
			kb := strings.TrimPrefix(p.Product, "KB")
			if out[kb] != "*" && !slices.Contains(strings.Fields(out[kb]), platform) {
				out[kb] = strings.TrimSpace(out[kb] + " " + platform)
			}
		}
	}
	return out, nil
}

// kbNumber is what an address may ask for.
var kbNumber = regexp.MustCompile(`^[1-9][0-9]{5,7}$`)

// placeOf takes the id of a KB's patch apart.
func placeOf(id patch.ID) (platform, kb string, ok bool) {
	parts := strings.Split(string(id), ":")
	if len(parts) != 3 || !strings.HasPrefix(parts[0], "windows-") {
		return "", "", false
	}
	kb, ok = strings.CutPrefix(parts[2], "KB")
	return parts[0] + "-" + parts[1], kb, ok && kbNumber.MatchString(kb)
}

// newestCumulative are the last n cumulative updates or rollups of a platform.
func newestCumulative(all []patch.Patch, platform string, n int) []patch.Patch {
	var line []patch.Patch
	for _, p := range all {
		if p.Platform == platform && p.Installed != nil && (strings.Contains(p.Title, " cumulative update for ") || strings.Contains(p.Title, " monthly rollup for ")) {
			line = append(line, p)
		}
	}
	slices.SortStableFunc(line, func(a, b patch.Patch) int {
		if c := b.Released.Compare(a.Released); c != 0 {
			return c
		}
		return vercmp.WindowsQuad(b.Version, a.Version)
	})
	return line[:min(n, len(line))]
}

func (f *fetching) ask(ctx context.Context, address, kb, platforms string) error {
	updates, err := updatecatalog.Ask(ctx, f.s.Client, address, kb, func(title string) bool {
		platform := PlatformOf(title)
		return platforms == "*" && platform != "" || slices.Contains(strings.Fields(platforms), platform)
	})
	if err != nil {
		return err
	}
	sum, err := crawl.Keep(f.dir, updates)
	if err != nil {
		return err
	}
	f.st.Pages[kb] = document{Seen: platforms, SHA256: sum}
	return nil
}

// choice are the files of the KBs that are to be proven.
func (s *Source) choice(dir string, st state) crawl.Choice {
	choice := crawl.Choice{Patches: func() ([]patch.Patch, error) {
		updates, err := pages(dir, st)
		var out crawl.Output
		apply(&out, updates, nil)
		return out.Patches, err
	}}
	if prove := s.cfg.Catalog.Prove; len(prove) > 0 {
		choice.Named = func(p patch.Patch) bool {
			return slices.ContainsFunc(prove, func(w string) bool { return w == "*" || strings.EqualFold(w, p.Product) })
		}
	}
	return choice
}

// pages are the updates of all pages that are kept.
func pages(dir string, st state) ([]updatecatalog.Update, error) {
	var out []updatecatalog.Update
	for _, kb := range sortedKeys(st.Pages) {
		var some []updatecatalog.Update
		if err := crawl.Load(dir, st.Pages[kb].SHA256, &some); err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

// apply tells the patches what the Update Catalog's pages say: the payload,
// how it is installed, and what it replaces.
func apply(out *crawl.Output, updates []updatecatalog.Update, learned crawl.Learned) {
	at := map[patch.ID]int{}
	for i, p := range out.Patches {
		at[p.ID] = i
	}
	for _, u := range updates {
		platform := PlatformOf(u.Title)
		i, known := at[id(platform, u.KB)]
		if !known {
			at[id(platform, u.KB)] = len(out.Patches)
			i = len(out.Patches)
			out.Patches = append(out.Patches, bulletin(platform, u))
		}
		p := &out.Patches[i]
		p.Install.Kind, p.Items = payload(u)
		for k := range p.Items {
			p.Items[k].Version = p.Version
		}
		if len(p.Items) == 0 {
			p.Install.Kind = "msu"
			p.Evidence.Checks = []string{fmt.Sprintf("nothing is installed from it: the Update Catalog names %d files for it, and which of them is not told", len(u.Files))}
		}
		learned.Tell(p, "name "+p.Product+" in microsoft.prove to have it proven")
		if u.Restart == "Never restarts" {
			p.Install.Reboot = patch.RebootNever
		}
	}
	replaced(out, updates, at)
}

// bulletin is the patch of an update that the documents do not know.
func bulletin(platform string, u updatecatalog.Update) patch.Patch {
	p := patch.Patch{
		ID: id(platform, u.KB), Vendor: Vendor, Platform: platform, Product: "KB" + u.KB, Version: u.Updated.Format("2006.01.02"), Title: u.Title,
		Classification: patch.Update, Severity: patch.Unknown, Released: u.Updated,
		Install: patch.Manifest{Kind: "msu", ExitCodes: exitCodes(), Reboot: patch.RebootMaybe},
	}
	if u.Classification == "Security Updates" {
		p.Classification = patch.Security
	}
	return p
}

// replaced enters the pages' supersedence, where the documents have none and no
// circle comes of it.
func replaced(out *crawl.Output, updates []updatecatalog.Update, at map[patch.ID]int) {
	g := newGraph()
	for _, p := range out.Patches {
		for _, old := range p.Supersedes {
			g.add(string(p.ID), string(old))
		}
	}
	edge := func(over, under patch.ID) {
		i, a := at[over]
		_, b := at[under]
		if before := g.edges; a && b && out.Patches[i].Platform == out.Patches[at[under]].Platform {
			if g.add(string(over), string(under)); g.edges > before {
				out.Patches[i].Supersedes = append(out.Patches[i].Supersedes, under)
				slices.Sort(out.Patches[i].Supersedes)
			}
		}
	}
	for _, u := range updates {
		platform := PlatformOf(u.Title)
		for _, o := range u.Replaces {
			edge(id(platform, u.KB), id(platform, o.KB))
		}
		for _, o := range u.ReplacedBy {
			edge(id(platform, o.KB), id(platform, u.KB))
		}
	}
}

// payload picks the file that is installed: the only one, or the only one whose
// name has the KB.
func payload(u updatecatalog.Update) (kind string, items []patch.Item) {
	var fit []updatecatalog.File
	for _, f := range u.Files {
		if strings.Contains(strings.ToLower(f.Name), "kb"+u.KB) || len(u.Files) == 1 {
			fit = append(fit, f)
		}
	}
	if len(fit) != 1 {
		return "", nil
	}
	f := fit[0]
	switch name := strings.ToLower(f.Name); {
	case strings.HasSuffix(name, ".msu"):
		kind = "msu"
	case strings.HasSuffix(name, ".cab"):
		kind = "cab"
	default:
		return "", nil
	}
	pay := patch.Payload{Name: f.Name, URL: f.URL}
	if len(u.Files) == 1 {
		pay.Size = u.Size
	}
	switch {
	case f.SHA256 != "":
		pay.Digest = "sha256:" + f.SHA256
	case f.SHA1 != "":
		pay.Digest = "sha1:" + f.SHA1
	default:
		return "", nil
	}
	return kind, []patch.Item{{Kind: "file", Name: f.Name, Payload: pay}}
}
