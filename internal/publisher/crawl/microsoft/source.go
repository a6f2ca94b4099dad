package microsoft

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/updatecatalog"
)

// DefaultURL is Microsoft's own address of the Security Update Guide's API.
const DefaultURL = "https://api.msrc.microsoft.com/cvrf/v3.0"

// form is the number of the folded form. A change of what folding keeps raises
// it, and everything is fetched and folded anew.
const form = 1

// Config says where Microsoft's documents come from.
type Config struct {
	// MSRC is the address of the Security Update Guide's API ("default" is
	// DefaultURL), or a folder (or file:// address) with its documents as XML,
	// plain or packed with zstd.
	MSRC string
	// Lists are files of the supersedence list, plain or packed with zstd.
	// They are optional.
	Lists []string
	// Catalog asks the Update Catalog for payloads.
	Catalog Catalog
	// Since leaves out months before it, such as "2016"; empty takes all.
	Since string
	// Progress is told what goes on; it may be nil.
	Progress func(doing string)
}

// Source is Microsoft as a source of patches. Payloads are those that the
// Update Catalog names.
type Source struct {
	crawl.Learning[state, *state]
	cfg    Config
	at     crawl.Location // of the documents
	client crawl.Client   // fetches them
}

// New makes a source. It returns fault.Invalid for an address that is neither
// http, https, file nor the path of a folder.
func New(cfg Config, client crawl.Client) (*Source, error) {
	if cfg.MSRC == "default" {
		cfg.MSRC = DefaultURL
	}
	if cfg.Catalog.Address == "default" {
		cfg.Catalog.Address = updatecatalog.DefaultURL
	}
	at, err := crawl.ParseLocation(cfg.MSRC)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "microsoft: the place of the documents").
			WithHint("Give %s, or the absolute path of a folder with documents.", DefaultURL)
	}
	if cfg.Catalog.Address != "" {
		if pages, err := crawl.ParseLocation(cfg.Catalog.Address); err != nil || pages.Path != "" {
			return nil, fault.New(fault.Invalid, "microsoft: the address of the Update Catalog %q is not http or https", cfg.Catalog.Address)
		}
	}
	s := &Source{cfg: cfg, at: at, client: at.Client(client)}
	s.Learning = crawl.NewLearning[state](crawl.Remote(client), form, cfg.MSRC+" "+cfg.Since)
	return s, nil
}

// Name is "microsoft".
func (s *Source) Name() string { return "microsoft" }

// state is the fingerprint of a Source.
type state struct {
	crawl.Memory
	// Documents by where they come from: a month's id, or a file name.
	Documents map[string]document `json:"documents,omitempty"`
	Lists     map[string]document `json:"lists,omitempty"`
	// Pages are the Update Catalog's, by KB.
	Pages map[string]document `json:"pages,omitempty"`
}

// Kept names the folded documents.
func (st *state) Kept() []string {
	var out []string
	for _, of := range []map[string]document{st.Documents, st.Lists, st.Pages} {
		for _, d := range of {
			out = append(out, d.SHA256)
		}
	}
	return out
}

// document is a file that was folded.
type document struct {
	// Seen says which version it is: the date of the API's list, or size and
	// time of a file.
	Seen   string `json:"seen"`
	SHA256 string `json:"sha256"` // of the folded form, packed
}

// Fetch brings the documents that have changed. One that can't be had or read
// leaves what it said before in force and is named in the notes; the error is
// not nil when there is nothing at all.
func (s *Source) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	st := s.Recall(prev)
	for _, of := range []*map[string]document{&st.Documents, &st.Lists, &st.Pages} {
		if *of == nil {
			*of = map[string]document{}
		}
		for key, d := range *of {
			if !crawl.There(dir, d.SHA256) {
				delete(*of, key)
			}
		}
	}
	run := &fetching{s: s, dir: dir, st: &st}
	err := run.documents(ctx)
	if err == nil {
		err = run.lists(ctx)
	}
	if err == nil {
		err = run.catalog(ctx)
	}
	if err != nil {
		return crawl.Fetched{}, err
	}
	if len(st.Documents) == 0 {
		return crawl.Fetched{}, fault.New(fault.Unavailable, "microsoft: no document could be had%s", run.firstNote())
	}
	return s.Conclude(ctx, dir, prev, &st, s.choice(dir, st), run.notes)
}

// fetching is one run of Fetch.
type fetching struct {
	s     *Source
	dir   string
	st    *state
	notes []string
}

func (f *fetching) firstNote() string {
	if len(f.notes) == 0 {
		return ""
	}
	return ": " + f.notes[0]
}

func (f *fetching) say(doing string) {
	if f.s.cfg.Progress != nil {
		f.s.cfg.Progress(doing)
	}
}

func (f *fetching) documents(ctx context.Context) error {
	if f.s.at.Path != "" {
		return f.fromFolder(ctx)
	}
	return f.fromAPI(ctx)
}

// month folds a document and keeps it, whatever came of it before.
func (f *fetching) month(key, seen string, r io.Reader) error {
	parse := msrc.ParseCVRF
	if strings.HasSuffix(strings.TrimSuffix(key, ".zst"), ".json") {
		parse = msrc.ParseCSAF
	}
	m, err := parse(r)
	if err != nil {
		return err
	}
	sum, err := crawl.Keep(f.dir, m)
	if err != nil {
		return err
	}
	f.st.Documents[key] = document{Seen: seen, SHA256: sum}
	return nil
}

// lists folds the files of the supersedence list that have changed.
func (f *fetching) lists(ctx context.Context) error {
	wanted := map[string]bool{}
	for _, path := range f.s.cfg.Lists {
		path = strings.TrimPrefix(path, "file://")
		wanted[path] = true
		if ctx.Err() != nil {
			return fault.Wrap(ctx.Err(), fault.Cancelled, "microsoft: stopped")
		}
		info, err := os.Stat(path)
		if err != nil {
			f.notes = append(f.notes, "the supersedence list "+path+" can't be read")
			continue
		}
		seen := crawl.FileVersion(info)
		if f.st.Lists[path].Seen == seen {
			continue
		}
		f.say("reading " + filepath.Base(path))
		sum, err := f.list(path)
		if err != nil {
			f.notes = append(f.notes, "the supersedence list "+path+": "+fault.Public(err))
			continue
		}
		f.st.Lists[path] = document{Seen: seen, SHA256: sum}
	}
	for path := range f.st.Lists {
		if !wanted[path] {
			delete(f.st.Lists, path)
		}
	}
	return nil
}

func (f *fetching) list(path string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", fault.Wrap(err, fault.NotFound, "microsoft: the file can't be opened")
	}
	defer in.Close()
	r, err := crawl.Unpack(path, in)
	if err != nil {
		return "", err
	}
	defer r.Close()
	var l List
	if err := l.ParseList(r); err != nil {
		return "", err
	}
	return crawl.Keep(f.dir, l)
}

// Parse puts the folded documents together. Of several states of one month the
// newest counts.
func (s *Source) Parse(ctx context.Context, dir string, at crawl.Fingerprint) (crawl.Output, error) {
	st := s.Recall(at)
	if len(st.Documents) == 0 {
		return crawl.Output{}, fault.New(fault.NotFound, "microsoft: there is no document yet")
	}
	out, err := s.build(ctx, dir, st)
	if err != nil {
		return crawl.Output{}, err
	}
	updates, err := pages(dir, st)
	if err != nil {
		return crawl.Output{}, err
	}
	apply(&out, updates, st.Learned)
	return out, nil
}

// build makes patches of the documents and lists.
func (s *Source) build(ctx context.Context, dir string, st state) (crawl.Output, error) {
	byID := map[string]msrc.Month{}
	for _, key := range sortedKeys(st.Documents) {
		if ctx.Err() != nil {
			return crawl.Output{}, fault.Wrap(ctx.Err(), fault.Cancelled, "microsoft: stopped")
		}
		var m msrc.Month
		if err := crawl.Load(dir, st.Documents[key].SHA256, &m); err != nil {
			return crawl.Output{}, err
		}
		if old, twice := byID[m.ID]; !twice || m.Newer(old) {
			byID[m.ID] = m
		}
	}
	var list List
	for _, key := range sortedKeys(st.Lists) {
		var l List
		if err := crawl.Load(dir, st.Lists[key].SHA256, &l); err != nil {
			return crawl.Output{}, err
		}
		list.add(l)
	}
	months := make([]msrc.Month, 0, len(byID))
	for _, id := range sortedKeys(byID) {
		months = append(months, byID[id])
	}
	out, tally := Build(months, list)
	out.Notes = tally.notes()
	return out, nil
}

// add joins two lists.
func (l *List) add(m List) {
	if l.Edges == nil {
		l.Edges = map[string]map[string][]string{}
	}
	for platform, of := range m.Edges {
		if l.Edges[platform] == nil {
			l.Edges[platform] = map[string][]string{}
		}
		for kb, olds := range of {
			all := append(slices.Clone(l.Edges[platform][kb]), olds...)
			slices.Sort(all)
			l.Edges[platform][kb] = slices.Compact(all)
		}
	}
	l.Packs = append(l.Packs, m.Packs...)
	l.Lines, l.Records = l.Lines+m.Lines, l.Records+m.Records
	l.NoKB, l.TextKB = l.NoKB+m.NoKB, l.TextKB+m.TextKB
	l.Superseding, l.Foreign, l.Broken = l.Superseding+m.Superseding, l.Foreign+m.Foreign, l.Broken+m.Broken
}

// notes are what people should know of a build that is good as a whole.
func (t Tally) notes() []string {
	var out []string
	if n := len(t.Strange); n > 0 {
		out = append(out, fmt.Sprintf("%d names of Windows are not known to this program; see what the source rejected", n))
	}
	return out
}
