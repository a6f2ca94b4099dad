// Package sdp crawls catalogs of software distribution packages: what hardware
// makers such as HP, Dell and Lenovo publish for WSUS and Configuration Manager.
//
// A catalog is a cabinet with one document per package. Each says with
// Microsoft's own applicability rules where it belongs and when it is installed,
// and where its installer lies. The rules are translated whole; a package with
// one that can't be is refused by name.
//
// Format: SoftwareDistributionPackage.xsd of Microsoft's Local Publishing.
package sdp

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
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

// form is the number of the folded form; a change of what is kept raises it.
const form = 1

// maxDownload bounds a catalog as it travels, in bytes.
const maxDownload = 1 << 30

// Config is one vendor's catalog.
type Config struct {
	// Name is short and unique, such as "hp"; it is the vendor of the patches.
	Name string
	// Location is the address of the catalog (http, https or file), or the
	// absolute path of a cabinet, a document or a folder with documents.
	Location string
	// Signer is whose signature the installers must carry: the exact common
	// name or organization. Empty takes whom the lab finds, if the configured
	// roots trust him.
	Signer string
	// Prove names packages, by their KB or id, whose installers are fetched, so
	// that their SHA-256 is learned and they can be installed. "*" is all.
	Prove []string
}

// Source is one vendor's catalog as a source of patches.
type Source struct {
	cfg    Config
	client crawl.Client
	path   string // of a local file or folder; empty means the network
}

var goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)

// New makes a source. It returns fault.Invalid for a name or location that
// can't be.
func New(cfg Config, client crawl.Client) (*Source, error) {
	if !goodName.MatchString(cfg.Name) {
		return nil, fault.New(fault.Invalid, "sdp: %q is no name for a catalog", clip(cfg.Name)).
			WithHint("Use lower-case letters and digits, such as hp.")
	}
	s := &Source{cfg: cfg, client: client}
	u, err := url.Parse(cfg.Location)
	switch {
	case filepath.IsAbs(cfg.Location):
		s.path = cfg.Location
	case err == nil && u.Scheme == "file":
		s.path = filepath.FromSlash(u.Path)
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		s.client = crawl.Remote(client)
		if len(cfg.Prove) > 0 && u.Scheme == "http" && !loopback(u.Hostname()) {
			return nil, fault.New(fault.Invalid, "sdp: the catalog of %s says how installers are run, and comes over plain http, where anybody on the way can change it", cfg.Name).
				WithHint("Give its https address, or fetch it yourself and give the path; without sdp.prove it is only looked at.")
		}
	default:
		return nil, fault.New(fault.Invalid, "sdp: the location %q of %s is no address and no absolute path", clip(cfg.Location), cfg.Name)
	}
	return s, nil
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// Name is "sdp-" and the catalog's name.
func (s *Source) Name() string { return "sdp-" + s.cfg.Name }

// state is the fingerprint of a Source.
type state struct {
	Form   int    `json:"form"`
	From   string `json:"from"`
	Seen   string `json:"seen,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // of the folded catalog
	// Learned are the installers that were fetched.
	Learned crawl.Learned `json:"learned,omitempty"`
}

func (s *Source) recall(prev crawl.Fingerprint) state {
	var st state
	if prev == nil || json.Unmarshal(prev, &st) != nil || st.Form != form || st.From != s.cfg.Location {
		st = state{Form: form, From: s.cfg.Location}
	}
	if st.Learned == nil {
		st.Learned = crawl.Learned{}
	}
	return st
}

// Blobs names the folded catalog and the installers.
func (s *Source) Blobs(at crawl.Fingerprint) []string {
	st := s.recall(at)
	out := st.Learned.Blobs()
	if st.SHA256 != "" {
		out = append(out, st.SHA256)
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

// Fetch reads the catalog when it has changed. One that can't be read leaves
// the one before in force.
func (s *Source) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	st := s.recall(prev)
	if _, err := os.Stat(crawl.BlobPath(dir, st.SHA256)); st.SHA256 == "" || err != nil {
		st.Seen, st.SHA256 = "", ""
	}
	before := fmt.Sprint(st.SHA256, st.Learned)
	c, seen, err := s.read(ctx, dir, st.Seen)
	if err != nil {
		return crawl.Fetched{}, err
	}
	if c != nil {
		if st.SHA256, err = crawl.Keep(dir, c); err != nil {
			return crawl.Fetched{}, err
		}
		st.Seen = seen
	} else {
		c = &Catalog{}
		if err := crawl.Load(dir, st.SHA256, c); err != nil {
			return crawl.Fetched{}, err
		}
	}
	if err := st.Learned.Learn(ctx, s.client, dir, s.selected(*c)); err != nil {
		return crawl.Fetched{}, err
	}
	fp, err := json.Marshal(st)
	if err != nil {
		return crawl.Fetched{}, fault.Wrap(err, fault.Internal, "sdp: the state can't be encoded")
	}
	return crawl.Fetched{Changed: before != fmt.Sprint(st.SHA256, st.Learned), Fingerprint: fp}, nil
}

// selected are the installers that the configuration wants proven.
func (s *Source) selected(c Catalog) []patch.Payload {
	var out []patch.Payload
	for _, p := range c.Packages {
		if !slices.ContainsFunc(s.cfg.Prove, func(w string) bool {
			return w == "*" || strings.EqualFold(w, p.KB) || strings.EqualFold(w, p.ID)
		}) {
			continue
		}
		for _, i := range p.Items {
			out = append(out, i.item("", "").Payload)
		}
	}
	return out
}

// read gives the catalog, or nil when it is still the one seen.
func (s *Source) read(ctx context.Context, dir, seen string) (*Catalog, string, error) {
	if s.path == "" {
		return s.download(ctx, dir, seen)
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, "", fault.Wrap(err, fault.NotFound, "sdp: there is nothing at %s", s.path)
	}
	if info.IsDir() {
		return s.folder(seen)
	}
	now := crawl.FileVersion(info)
	if now == seen {
		return nil, seen, nil
	}
	c, err := fromFile(s.path)
	return c, now, err
}

func (s *Source) download(ctx context.Context, dir, seen string) (*Catalog, string, error) {
	tmp, err := os.MkdirTemp(dir, "download-")
	if err != nil {
		return nil, "", fault.Wrap(err, fault.Unavailable, "sdp: no folder for the download can be made")
	}
	defer os.RemoveAll(tmp)
	file := filepath.Join(tmp, "catalog")
	got, err := s.client.Get(ctx, fetch.Request{URL: s.cfg.Location, Fingerprint: seen, File: file, Expect: fetch.NotHTML, MaxSize: maxDownload})
	if err != nil || got.NotModified {
		return nil, seen, err
	}
	c, err := fromFile(file)
	return c, got.Fingerprint, err
}

func fromFile(path string) (*Catalog, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "sdp: the catalog can't be opened")
	}
	defer f.Close()
	c, err := ParseCatalog(f)
	return &c, err
}

func (s *Source) folder(seen string) (*Catalog, string, error) {
	root, err := os.OpenRoot(s.path)
	if err != nil {
		return nil, "", fault.Wrap(err, fault.NotFound, "sdp: the folder %s can't be opened", s.path)
	}
	defer root.Close()
	var now strings.Builder
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&now, name, crawl.FileVersion(info))
		}
		return err
	})
	if err != nil {
		return nil, "", fault.Wrap(err, fault.Unavailable, "sdp: the folder %s can't be listed", s.path)
	}
	digest := crawl.TextVersion(now.String())
	if digest == seen {
		return nil, seen, nil
	}
	c, err := ParseFolder(root)
	return &c, digest, err
}

// Parse makes the patches.
func (s *Source) Parse(_ context.Context, dir string, at crawl.Fingerprint) (crawl.Output, error) {
	st := s.recall(at)
	if st.SHA256 == "" {
		return crawl.Output{}, fault.New(fault.NotFound, "sdp: there is no catalog of %s yet", s.cfg.Name)
	}
	var c Catalog
	if err := crawl.Load(dir, st.SHA256, &c); err != nil {
		return crawl.Output{}, err
	}
	out := output(c, s.cfg.Name, s.cfg.Signer)
	for i := range out.Patches {
		st.Learned.Tell(&out.Patches[i], "name "+out.Patches[i].Product+" in sdp.prove to have it proven")
	}
	return out, nil
}
