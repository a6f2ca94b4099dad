package microsoft

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
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

// Source is Microsoft as a source of patches.
type Source struct {
	cfg    Config
	client crawl.Client
	folder string // of documents; empty means the API
}

// New makes a source. It returns fault.Invalid for an address that is neither
// http, https, file nor the path of a folder.
func New(cfg Config, client crawl.Client) (*Source, error) {
	if cfg.MSRC == "default" {
		cfg.MSRC = DefaultURL
	}
	s := &Source{cfg: cfg, client: client}
	if filepath.IsAbs(cfg.MSRC) {
		s.folder = cfg.MSRC
		return s, nil
	}
	u, err := url.Parse(cfg.MSRC)
	switch {
	case err != nil || u.Scheme == "":
		return nil, fault.New(fault.Invalid, "microsoft: %q is no address and no absolute path", cfg.MSRC).
			WithHint("Give %s, or the absolute path of a folder with documents.", DefaultURL)
	case u.Scheme == "file":
		s.folder = filepath.FromSlash(u.Path)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fault.New(fault.Invalid, "microsoft: the address %q is not http, https or file", cfg.MSRC)
	}
	return s, nil
}

// Name is "microsoft".
func (s *Source) Name() string { return "microsoft" }

// state is the fingerprint of a Source.
type state struct {
	Form int    `json:"form"`
	From string `json:"from"`
	// Documents by where they come from: a month's id, or a file name.
	Documents map[string]document `json:"documents,omitempty"`
	Lists     map[string]document `json:"lists,omitempty"`
	// Pages are the Update Catalog's, by KB; Learned are the files fetched.
	Pages   map[string]document `json:"pages,omitempty"`
	Learned crawl.Learned       `json:"learned,omitempty"`
}

// document is a file that was folded.
type document struct {
	// Seen says which version it is: the date of the API's list, or size and
	// time of a file.
	Seen   string `json:"seen"`
	SHA256 string `json:"sha256"` // of the folded form, packed
}

func (s *Source) recall(prev crawl.Fingerprint) state {
	fresh := state{Form: form, From: s.cfg.MSRC + " " + s.cfg.Since, Documents: map[string]document{}, Lists: map[string]document{}}
	var st state
	if prev == nil || json.Unmarshal(prev, &st) != nil || st.Form != form || st.From != fresh.From {
		return fresh
	}
	if st.Documents == nil {
		st.Documents = fresh.Documents
	}
	if st.Lists == nil {
		st.Lists = fresh.Lists
	}
	return st
}

// Blobs names the folded documents.
func (s *Source) Blobs(at crawl.Fingerprint) []string {
	st := s.recall(at)
	out := st.Learned.Blobs()
	for _, of := range []map[string]document{st.Documents, st.Lists, st.Pages} {
		for _, d := range of {
			out = append(out, d.SHA256)
		}
	}
	slices.Sort(out)
	return out
}

// Fetch brings the documents that have changed. One that can't be had or read
// leaves what it said before in force and is named in the notes; the error is
// not nil when there is nothing at all.
func (s *Source) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	st := s.recall(prev)
	for _, of := range []map[string]document{st.Documents, st.Lists, st.Pages} {
		for key, d := range of {
			if !there(dir, d.SHA256) {
				delete(of, key)
			}
		}
	}
	before := fmt.Sprint(st.Documents, st.Lists, st.Pages, st.Learned)
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
	fp, err := json.Marshal(st)
	if err != nil {
		return crawl.Fetched{}, fault.Wrap(err, fault.Internal, "microsoft: the state can't be encoded")
	}
	return crawl.Fetched{Changed: before != fmt.Sprint(st.Documents, st.Lists, st.Pages, st.Learned), Fingerprint: fp, Notes: run.notes}, nil
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
	if f.s.folder != "" {
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
	st := s.recall(at)
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
