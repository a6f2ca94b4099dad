// Package dotnet crawls the release metadata of .NET: every release with its
// CVEs and installers, by channel.
//
// Format: https://github.com/dotnet/core/tree/main/release-notes (releases.json).
package dotnet

import (
	"context"
	"os"
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
	crawl.Learning[state, *state]
	cfg Config
	at  crawl.Location
}

// New makes a source. It returns fault.Invalid for a location that can't be.
func New(cfg Config, client crawl.Client) (*Source, error) {
	if cfg.Location == "default" {
		cfg.Location = DefaultURL
	}
	at, err := crawl.ParseLocation(cfg.Location)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "dotnet: the place of the releases").WithHint("Give default, or the absolute path of a folder.")
	}
	from := cfg.Location + " " + strings.Join(cfg.Channels, " ")
	return &Source{Learning: crawl.NewLearning[state](at.Client(client), form, from), cfg: cfg, at: at}, nil
}

// Name is "dotnet".
func (s *Source) Name() string { return "dotnet" }

// state is the fingerprint of a Source.
type state struct {
	crawl.Memory
	Channels map[string]kept `json:"channels,omitempty"`
}

// kept is a channel that was folded.
type kept struct {
	Seen   string `json:"seen"`
	SHA256 string `json:"sha256"`
}

// Kept names the folded channels.
func (st *state) Kept() []string {
	var out []string
	for _, k := range st.Channels {
		out = append(out, k.SHA256)
	}
	return out
}

// Fetch brings the channels that have a new release. One that can't be had
// leaves what it said before in force and is named in the notes.
func (s *Source) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	st := s.Recall(prev)
	if st.Channels == nil {
		st.Channels = map[string]kept{}
	}
	for c, k := range st.Channels {
		if !crawl.There(dir, k.SHA256) {
			delete(st.Channels, c)
		}
	}
	var notes []string
	var err error
	if s.at.Path != "" {
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
	return s.Conclude(ctx, dir, prev, &st, s.choice(dir, st), notes)
}

// choice are the installers that the configuration wants proven.
func (s *Source) choice(dir string, st state) crawl.Choice {
	replaced := map[patch.ID]bool{}
	choice := crawl.Choice{Patches: func() ([]patch.Patch, error) {
		channels, err := load(dir, st)
		if err != nil {
			return nil, err
		}
		all := output(channels).Patches
		for _, p := range all {
			for _, old := range p.Supersedes {
				replaced[old] = true
			}
		}
		return all, nil
	}}
	if len(s.cfg.Prove) > 0 {
		choice.Named = func(p patch.Patch) bool {
			return slices.Contains(s.cfg.Prove, p.Version) || slices.Contains(s.cfg.Prove, "latest") && !replaced[p.ID]
		}
	}
	return choice
}

func (s *Source) takes(channel string) bool {
	return len(s.cfg.Channels) == 0 || slices.Contains(s.cfg.Channels, channel)
}

func (s *Source) fromIndex(ctx context.Context, dir string, st *state) (notes []string, err error) {
	got, err := s.Client.Get(ctx, fetch.Request{URL: s.cfg.Location, Expect: fetch.JSON, MaxSize: 1 << 20})
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
		got, err := s.Client.Get(ctx, fetch.Request{URL: e.URL, Expect: fetch.JSON, MaxSize: maxChannel})
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
	root, err := os.OpenRoot(s.at.Path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "dotnet: the folder %s can't be opened", s.at.Path)
	}
	defer root.Close()
	entries, err := os.ReadDir(s.at.Path)
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
	st := s.Recall(at)
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
