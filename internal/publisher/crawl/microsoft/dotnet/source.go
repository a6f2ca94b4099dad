// Package dotnet crawls the release metadata of .NET: every release with its
// CVEs and installers, by channel.
//
// Format: https://github.com/dotnet/core/tree/main/release-notes (releases.json).
package dotnet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// DefaultURL is Microsoft's own address of the index.
const DefaultURL = "https://builds.dotnet.microsoft.com/dotnet/release-metadata/releases-index.json"

// form is the number of the folded form; a change of what is kept raises it.
const form = 1

// Config says where the metadata comes from.
type Config struct {
	// Location is the index's address ("default" is DefaultURL), or the
	// absolute path of a folder with files such as 8.0-releases.json, plain or
	// packed with zstd.
	Location string
	// Channels, when given, are the only ones taken, such as "8.0".
	Channels []string
	// Prove names versions whose installers are fetched, so that they can be
	// installed: "8.0.29", or "latest" for the newest of each line.
	Prove []string
}

// Source is .NET as a source of patches.
type Source struct {
	cfg    Config
	client crawl.Client
	folder string
}

// New makes a source. It returns fault.Invalid for a location that can't be.
func New(cfg Config, client crawl.Client) (*Source, error) {
	if cfg.Location == "default" {
		cfg.Location = DefaultURL
	}
	s := &Source{cfg: cfg, client: client}
	u, err := url.Parse(cfg.Location)
	switch {
	case filepath.IsAbs(cfg.Location):
		s.folder = cfg.Location
	case err == nil && u.Scheme == "file":
		s.folder = filepath.FromSlash(u.Path)
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		s.client = crawl.Remote(client)
	default:
		return nil, fault.New(fault.Invalid, "dotnet: %q is no address and no absolute path", cfg.Location).WithHint("Give default, or the absolute path of a folder.")
	}
	return s, nil
}

// Name is "dotnet".
func (s *Source) Name() string { return "dotnet" }

// state is the fingerprint of a Source.
type state struct {
	Form     int             `json:"form"`
	From     string          `json:"from"`
	Channels map[string]kept `json:"channels,omitempty"`
	Learned  crawl.Learned   `json:"learned,omitempty"`
}

// kept is a channel that was folded.
type kept struct {
	Seen   string `json:"seen"`
	SHA256 string `json:"sha256"`
}

func (s *Source) recall(prev crawl.Fingerprint) state {
	from := s.cfg.Location + " " + strings.Join(s.cfg.Channels, " ")
	var st state
	if prev == nil || json.Unmarshal(prev, &st) != nil || st.Form != form || st.From != from {
		st = state{Form: form, From: from}
	}
	if st.Channels == nil {
		st.Channels = map[string]kept{}
	}
	if st.Learned == nil {
		st.Learned = crawl.Learned{}
	}
	return st
}

// Blobs names the folded channels and the installers.
func (s *Source) Blobs(at crawl.Fingerprint) []string {
	st := s.recall(at)
	out := st.Learned.Blobs()
	for _, k := range st.Channels {
		out = append(out, k.SHA256)
	}
	return out
}

// Holds names no archive: installers stand in none.
func (s *Source) Holds(crawl.Fingerprint) []string { return nil }

// Offers says whether an installer was fetched.
func (s *Source) Offers(at crawl.Fingerprint, sha256 string) bool {
	return s.recall(at).Learned.Offers(sha256)
}

// Payloads fetches installers again.
func (s *Source) Payloads(ctx context.Context, _ crawl.Fingerprint, items []crawl.Wanted, dir string) (map[string]string, error) {
	return crawl.Again(ctx, s.client, items, dir)
}

// Fetch brings the channels that have a new release. One that can't be had
// leaves what it said before in force and is named in the notes.
func (s *Source) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	st := s.recall(prev)
	for c, k := range st.Channels {
		if _, err := os.Stat(crawl.BlobPath(dir, k.SHA256)); err != nil {
			delete(st.Channels, c)
		}
	}
	before := fmt.Sprint(st.Channels, st.Learned)
	var notes []string
	var err error
	if s.folder != "" {
		notes, err = s.fromFolder(dir, &st)
	} else {
		notes, err = s.fromIndex(ctx, dir, &st)
	}
	if err != nil {
		return crawl.Fetched{}, err
	}
	if len(st.Channels) == 0 {
		return crawl.Fetched{}, fault.New(fault.Unavailable, "dotnet: no channel could be had: %s", strings.Join(notes, "; "))
	}
	wanted, err := s.selected(dir, st)
	if err == nil {
		err = st.Learned.Learn(ctx, s.client, dir, wanted)
	}
	if err != nil {
		return crawl.Fetched{}, err
	}
	fp, err := json.Marshal(st)
	if err != nil {
		return crawl.Fetched{}, fault.Wrap(err, fault.Internal, "dotnet: the state can't be encoded")
	}
	return crawl.Fetched{Changed: before != fmt.Sprint(st.Channels, st.Learned), Fingerprint: fp, Notes: notes}, nil
}

func (s *Source) takes(channel string) bool {
	return len(s.cfg.Channels) == 0 || slices.Contains(s.cfg.Channels, channel)
}

func (s *Source) fromIndex(ctx context.Context, dir string, st *state) (notes []string, err error) {
	got, err := s.client.Get(ctx, fetch.Request{URL: s.cfg.Location, Expect: fetch.JSON, MaxSize: 1 << 20})
	if err != nil {
		return nil, err
	}
	all, err := ParseIndex(got.Body)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if !s.takes(e.Version) || st.Channels[e.Version].Seen == e.Latest {
			continue
		}
		got, err := s.client.Get(ctx, fetch.Request{URL: e.URL, Expect: fetch.JSON, MaxSize: maxChannel})
		if err == nil {
			err = keep(dir, st, strings.NewReader(string(got.Body)), e.Version, e.Latest)
		}
		if crawl.Stopped(err) {
			return nil, err
		}
		if err != nil {
			notes = append(notes, "channel "+e.Version+": "+fault.Public(err))
		}
	}
	return notes, nil
}

var inFolder = regexp.MustCompile(`^(\d{1,3}\.\d{1,3})-releases\.json(?:\.zst)?$`)

func (s *Source) fromFolder(dir string, st *state) (notes []string, err error) {
	root, err := os.OpenRoot(s.folder)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "dotnet: the folder %s can't be opened", s.folder)
	}
	defer root.Close()
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "dotnet: the folder can't be listed")
	}
	for _, e := range entries {
		m := inFolder.FindStringSubmatch(e.Name())
		if m == nil || !s.takes(m[1]) {
			continue
		}
		if err := fromFile(root, e.Name(), m[1], dir, st); err != nil {
			notes = append(notes, e.Name()+": "+fault.Public(err))
		}
	}
	return notes, nil
}

func fromFile(root *os.Root, name, version, dir string, st *state) error {
	f, err := root.Open(name)
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "dotnet: the file can't be opened")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "dotnet: the file can't be read")
	}
	seen := crawl.FileVersion(info)
	if st.Channels[version].Seen == seen {
		return nil
	}
	r, err := crawl.Unpack(name, f)
	if err != nil {
		return err
	}
	defer r.Close()
	return keep(dir, st, r, version, seen)
}

// Parse makes the patches.
func (s *Source) Parse(_ context.Context, dir string, at crawl.Fingerprint) (crawl.Output, error) {
	st := s.recall(at)
	if len(st.Channels) == 0 {
		return crawl.Output{}, fault.New(fault.NotFound, "dotnet: there is no channel yet")
	}
	channels, err := load(dir, st)
	if err != nil {
		return crawl.Output{}, err
	}
	out := output(channels)
	for i := range out.Patches {
		st.Learned.Tell(&out.Patches[i], "name "+out.Patches[i].Version+" in dotnet.prove to have it proven")
	}
	return out, nil
}

// selected are the installers that the configuration wants proven.
func (s *Source) selected(dir string, st state) ([]patch.Payload, error) {
	if len(s.cfg.Prove) == 0 {
		return nil, nil
	}
	channels, err := load(dir, st)
	if err != nil {
		return nil, err
	}
	all := output(channels).Patches
	replaced := map[patch.ID]bool{}
	for _, p := range all {
		for _, old := range p.Supersedes {
			replaced[old] = true
		}
	}
	var out []patch.Payload
	for _, p := range all {
		if slices.Contains(s.cfg.Prove, p.Version) || slices.Contains(s.cfg.Prove, "latest") && !replaced[p.ID] {
			out = append(out, p.Items[0].Payload)
		}
	}
	return out, nil
}
