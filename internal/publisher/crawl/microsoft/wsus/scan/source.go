// Package scan crawls Microsoft's offline scan file, wsusscn2.cab: what the
// Windows Update Agent needs to tell what a machine lacks without a server.
//
// The file is a cabinet of cabinets. package.cab lists all updates with what
// they ask for; the others hold, for each revision, a fragment with Microsoft's
// own applicability rules, one with the files, and one with the title. It is
// read once, as a stream, and folded; prerequisites that are categories or
// detectoids become parts of the rules.
//
// Format: observed; Microsoft documents the use of the file alone
// (https://learn.microsoft.com/windows/win32/wua_sdk/using-wua-to-scan-for-updates-offline).
package scan

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// DefaultURL is Microsoft's own address of the file.
const DefaultURL = "https://catalog.s.download.windowsupdate.com/microsoftupdate/v6/wsusscan/wsusscn2.cab"

// form is the number of the folded form; a change of what is kept raises it.
const form = 1

// maxDownload bounds the file as it travels, in bytes; it has some 600 MB.
const maxDownload = 8 << 30

// Config says where the file comes from.
type Config struct {
	// Location is the file's address ("default" is DefaultURL) or absolute path.
	Location string
	// Since leaves out updates before that year; empty takes all.
	Since string
	// Prove names KBs whose files are fetched, so that they can be installed.
	Prove []string
	// Progress is told what goes on; it may be nil.
	Progress func(doing string)
}

// Source is the offline scan file as a source of patches.
type Source struct {
	cfg    Config
	client crawl.Client
	path   string
	since  time.Time
}

// New makes a source. It returns fault.Invalid for a location or year that
// can't be.
func New(cfg Config, client crawl.Client) (*Source, error) {
	if cfg.Location == "default" {
		cfg.Location = DefaultURL
	}
	s := &Source{cfg: cfg, client: client}
	u, err := url.Parse(cfg.Location)
	switch {
	case filepath.IsAbs(cfg.Location):
		s.path = cfg.Location
	case err == nil && u.Scheme == "file":
		s.path = filepath.FromSlash(u.Path)
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
	default:
		return nil, fault.New(fault.Invalid, "scan: %q is no address and no absolute path", clip(cfg.Location)).
			WithHint("Give default, or the absolute path of wsusscn2.cab.")
	}
	if cfg.Since != "" {
		if s.since, err = time.Parse("2006", cfg.Since); err != nil {
			return nil, fault.New(fault.Invalid, "scan: %q is no year", clip(cfg.Since))
		}
	}
	return s, nil
}

// Name is "wsusscn2".
func (s *Source) Name() string { return "wsusscn2" }

// state is the fingerprint of a Source.
type state struct {
	Form    int           `json:"form"`
	From    string        `json:"from"`
	Seen    string        `json:"seen,omitempty"`
	SHA256  string        `json:"sha256,omitempty"` // of the folded file
	Learned crawl.Learned `json:"learned,omitempty"`
}

func (s *Source) recall(prev crawl.Fingerprint) state {
	from := s.cfg.Location + " " + s.cfg.Since
	var st state
	if prev == nil || json.Unmarshal(prev, &st) != nil || st.Form != form || st.From != from {
		st = state{Form: form, From: from}
	}
	if st.Learned == nil {
		st.Learned = crawl.Learned{}
	}
	return st
}

// Blobs names the folded file and the payloads that were fetched.
func (s *Source) Blobs(at crawl.Fingerprint) []string {
	st := s.recall(at)
	out := st.Learned.Blobs()
	if st.SHA256 != "" {
		out = append(out, st.SHA256)
	}
	return out
}

// Holds names no archive: payloads stand in none.
func (s *Source) Holds(crawl.Fingerprint) []string { return nil }

// Offers says whether a payload was fetched.
func (s *Source) Offers(at crawl.Fingerprint, sha256 string) bool {
	return s.recall(at).Learned.Offers(sha256)
}

// Payloads fetches payloads again.
func (s *Source) Payloads(ctx context.Context, _ crawl.Fingerprint, items []crawl.Wanted, dir string) (map[string]string, error) {
	return crawl.Again(ctx, s.client, items, dir)
}

// Fetch reads the file when it has changed. One that can't be read leaves the
// one before in force.
func (s *Source) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	st := s.recall(prev)
	if _, err := os.Stat(crawl.BlobPath(dir, st.SHA256)); st.SHA256 == "" || err != nil {
		st.Seen, st.SHA256 = "", ""
	}
	before := fmt.Sprint(st.SHA256, st.Learned)
	folded, err := s.read(ctx, dir, &st)
	if err != nil {
		return crawl.Fetched{}, err
	}
	if folded != nil {
		if st.SHA256, err = crawl.Keep(dir, folded); err != nil {
			return crawl.Fetched{}, err
		}
	}
	if len(s.cfg.Prove) > 0 || len(st.Learned) > 0 {
		if folded == nil {
			folded = &Scan{}
			if err := crawl.Load(dir, st.SHA256, folded); err != nil {
				return crawl.Fetched{}, err
			}
		}
		if err := st.Learned.Learn(ctx, s.client, dir, s.selected(*folded)); err != nil {
			return crawl.Fetched{}, err
		}
	}
	fp, err := json.Marshal(st)
	if err != nil {
		return crawl.Fetched{}, fault.Wrap(err, fault.Internal, "scan: the state can't be encoded")
	}
	return crawl.Fetched{Changed: before != fmt.Sprint(st.SHA256, st.Learned), Fingerprint: fp}, nil
}

// read folds the file, unless it is still the one seen.
func (s *Source) read(ctx context.Context, dir string, st *state) (*Scan, error) {
	path := s.path
	if path == "" {
		tmp, err := os.MkdirTemp(dir, "download-")
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "scan: no folder for the download can be made")
		}
		defer os.RemoveAll(tmp)
		path = filepath.Join(tmp, "wsusscn2.cab")
		got, err := s.client.Get(ctx, fetch.Request{URL: s.cfg.Location, Fingerprint: st.Seen, File: path, Expect: fetch.NotHTML, MaxSize: maxDownload})
		if err != nil || got.NotModified {
			return nil, err
		}
		st.Seen = got.Fingerprint
	} else {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fault.Wrap(err, fault.NotFound, "scan: there is no file %s", path)
		}
		seen := crawl.FileVersion(info)
		if seen == st.Seen {
			return nil, nil //nolint:nilnil // nothing new is neither a file nor an error
		}
		st.Seen = seen
	}
	if s.cfg.Progress != nil {
		s.cfg.Progress("reading the offline scan file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "scan: the file can't be opened")
	}
	defer f.Close()
	folded, err := Parse(f, s.since)
	return &folded, err
}

// selected are the payloads of the KBs that the configuration wants proven.
func (s *Source) selected(folded Scan) []patch.Payload {
	var out []patch.Payload
	for _, p := range output(folded).Patches {
		if !slices.ContainsFunc(s.cfg.Prove, func(kb string) bool { return strings.EqualFold(kb, p.Product) }) {
			continue
		}
		for _, it := range p.Items {
			out = append(out, it.Payload)
		}
	}
	return out
}

// Parse makes the patches.
func (s *Source) Parse(_ context.Context, dir string, at crawl.Fingerprint) (crawl.Output, error) {
	st := s.recall(at)
	if st.SHA256 == "" {
		return crawl.Output{}, fault.New(fault.NotFound, "scan: there is no offline scan file yet")
	}
	var folded Scan
	if err := crawl.Load(dir, st.SHA256, &folded); err != nil {
		return crawl.Output{}, err
	}
	out := output(folded)
	for i := range out.Patches {
		st.Learned.Tell(&out.Patches[i], "name "+out.Patches[i].Product+" in wsusscn2.prove to have it proven")
	}
	return out, nil
}
