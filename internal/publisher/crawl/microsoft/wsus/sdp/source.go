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
	"fmt"
	"io/fs"
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
	// Seal says who must have signed the catalog itself; then it must be a
	// cabinet.
	Seal crawl.Seal
}

// Source is one vendor's catalog as a source of patches.
type Source struct {
	crawl.Learning[state, *state]
	cfg Config
	at  crawl.Location
}

// state is the fingerprint of a Source.
type state = crawl.Folded

var goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)

// New makes a source. It returns fault.Invalid for a name or location that
// can't be.
func New(cfg Config, client crawl.Client) (*Source, error) {
	if !goodName.MatchString(cfg.Name) {
		return nil, fault.New(fault.Invalid, "sdp: %q is no name for a catalog", clip(cfg.Name)).
			WithHint("Use lower-case letters and digits, such as hp.")
	}
	at, err := crawl.ParseLocation(cfg.Location)
	if err == nil {
		err = cfg.Seal.Validate()
	}
	switch {
	case err != nil:
		return nil, fault.Wrap(err, fault.Invalid, "sdp: the catalog of %s", cfg.Name)
	case len(cfg.Prove) > 0 && at.Open():
		return nil, fault.New(fault.Invalid, "sdp: the catalog of %s says how installers are run, and comes over plain http, where anybody on the way can change it", cfg.Name).
			WithHint("Give its https address, or fetch it yourself and give the path; without sdp.prove it is only looked at.")
	}
	s := &Source{Learning: crawl.NewLearning[state](at.Client(client), form, cfg.Location+cfg.Seal.From()), cfg: cfg, at: at}
	if at.Open() {
		s.Refuses = "its catalog says how it is run, and comes over plain http, where anybody on the way can change it"
	}
	return s, nil
}

// Name is "sdp-" and the catalog's name.
func (s *Source) Name() string { return "sdp-" + s.cfg.Name }

// Fetch reads the catalog when it has changed. One that can't be read leaves
// the one before in force.
func (s *Source) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	st := s.Recall(prev)
	st.Check(dir)
	c, seen, err := s.read(ctx, dir, st.Seen)
	if err != nil {
		return crawl.Fetched{}, err
	}
	if c != nil {
		if st.SHA256, err = crawl.Keep(dir, c); err != nil {
			return crawl.Fetched{}, err
		}
		st.Seen = seen
	}
	choice := crawl.Choice{Patches: func() ([]patch.Patch, error) {
		if c == nil {
			c = &Catalog{}
			if err := crawl.Load(dir, st.SHA256, c); err != nil {
				return nil, err
			}
		}
		return output(*c, s.cfg.Name, s.cfg.Signer).Patches, nil
	}}
	if len(s.cfg.Prove) > 0 {
		choice.Named = s.named
	}
	return s.Conclude(ctx, dir, prev, &st, choice, nil)
}

// named reports whether the configuration wants a package proven: by its KB, or
// by its id.
func (s *Source) named(p patch.Patch) bool {
	return slices.ContainsFunc(s.cfg.Prove, func(w string) bool {
		id := "sdp:" + s.cfg.Name + ":" + w + ":"
		return w == "*" || strings.EqualFold(w, p.Product) || len(p.ID) > len(id) && strings.EqualFold(id, string(p.ID[:len(id)]))
	})
}

// read gives the catalog, or nil when it is still the one seen.
func (s *Source) read(ctx context.Context, dir, seen string) (*Catalog, string, error) {
	if s.at.Path == "" {
		return s.download(ctx, dir, seen)
	}
	info, err := os.Stat(s.at.Path)
	if err != nil {
		return nil, "", fault.Wrap(err, fault.NotFound, "sdp: there is nothing at %s", s.at.Path)
	}
	if info.IsDir() {
		return s.folder(seen)
	}
	now := crawl.FileVersion(info)
	if now == seen {
		return nil, now, nil
	}
	c, err := s.fromFile(s.at.Path)
	return c, now, err
}

func (s *Source) download(ctx context.Context, dir, seen string) (*Catalog, string, error) {
	tmp, err := os.MkdirTemp(dir, "download-")
	if err != nil {
		return nil, "", fault.Wrap(err, fault.Unavailable, "sdp: no folder for the download can be made")
	}
	defer os.RemoveAll(tmp)
	file := filepath.Join(tmp, "catalog")
	got, err := s.Client.Get(ctx, fetch.Request{URL: s.cfg.Location, Fingerprint: seen, File: file, Expect: fetch.NotHTML, MaxSize: maxDownload})
	if err != nil || got.NotModified {
		return nil, seen, err
	}
	c, err := s.fromFile(file)
	return c, got.Fingerprint, err
}

// fromFile reads the catalog out of the file whose signature was looked at.
func (s *Source) fromFile(path string) (*Catalog, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "sdp: the catalog can't be opened")
	}
	defer f.Close()
	proof, err := s.cfg.Seal.Check(f)
	if err != nil {
		return nil, err
	}
	c, err := ParseCatalog(f)
	c.Proof = proof
	return &c, err
}

func (s *Source) folder(seen string) (*Catalog, string, error) {
	if s.cfg.Seal.Signer != "" {
		return nil, "", fault.New(fault.Untrusted, "sdp: a folder carries no signature, and the catalog of %s must be signed by %s", s.cfg.Name, s.cfg.Seal.Signer).
			WithHint("Give the cabinet as its maker offers it, or leave out catalog_signer.")
	}
	root, err := os.OpenRoot(s.at.Path)
	if err != nil {
		return nil, "", fault.Wrap(err, fault.NotFound, "sdp: the folder %s can't be opened", s.at.Path)
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
		return nil, "", fault.Wrap(err, fault.Unavailable, "sdp: the folder %s can't be listed", s.at.Path)
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
	st := s.Recall(at)
	if st.SHA256 == "" {
		return crawl.Output{}, fault.New(fault.NotFound, "sdp: there is no catalog of %s yet", s.cfg.Name)
	}
	var c Catalog
	if err := crawl.Load(dir, st.SHA256, &c); err != nil {
		return crawl.Output{}, err
	}
	out := output(c, s.cfg.Name, s.cfg.Signer)
	for i := range out.Patches {
		p := &out.Patches[i]
		st.Learned.Tell(p, "name "+p.Product+" in sdp.prove to have it proven")
		if c.Proof != nil && (len(p.Evidence.Checks) > 0 || p.Items[0].Payload.SHA256 != "") {
			p.Evidence.Checks = append(p.Evidence.Checks, c.Proof.Tell())
		}
	}
	return out, nil
}
