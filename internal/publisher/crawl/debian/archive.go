package debian

import (
	"context"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// Config names one suite of one archive.
type Config struct {
	// Name is the source's name, unique in the publisher.
	Name string
	// URI is the archive's base (http, https or file), Suite what follows
	// dists/.
	URI, Suite string
	// Components and Architectures say which indexes are wanted.
	Components, Architectures []string
	// Keyring is the file with the keys that may sign.
	Keyring string
	// EndpointKeyring is where endpoints have those keys; empty means apt's
	// trusted set, unless it is Keyring itself (below /usr/share/keyrings).
	EndpointKeyring string
	// Security overrides what the Release file says of the suite.
	Security *bool
	// Release is the distribution's release that the archive is for, such as
	// "debian-12"; needed when its vendor makes no distribution.
	Release string
	// AllowExpired publishes indexes that are past their Valid-Until.
	AllowExpired bool
}

// maxInRelease bounds an InRelease file in bytes; Debian's has 150 kB.
const maxInRelease = 16 << 20

// maxIndex bounds an index as it travels, in bytes.
const maxIndex = 1 << 30

// Archive is the source that is one suite of an archive named in the
// publisher's configuration.
type Archive struct {
	cfg    Config
	client crawl.Client
	opt    Options
}

// NewArchive checks the configuration: fault.Invalid says what is wrong.
func NewArchive(cfg Config, client crawl.Client, opt Options) (*Archive, error) {
	u, err := url.Parse(cfg.URI)
	switch {
	case err != nil || u.Scheme == "":
		return nil, fault.New(fault.Invalid, "debian: archive %s: %q is no address", cfg.Name, cfg.URI)
	case cfg.Suite == "" || strings.HasSuffix(cfg.Suite, "/") || !isPath(cfg.Suite):
		return nil, fault.New(fault.Invalid, "debian: archive %s: %q is no suite (flat archives are not supported here)", cfg.Name, cfg.Suite)
	case len(cfg.Components) == 0 || len(cfg.Architectures) == 0:
		return nil, fault.New(fault.Invalid, "debian: archive %s names no components or no architectures", cfg.Name)
	case cfg.Keyring == "":
		return nil, fault.New(fault.Invalid, "debian: archive %s names no keyring; unsigned archives are never used", cfg.Name)
	}
	for _, s := range append(append([]string{}, cfg.Components...), cfg.Architectures...) {
		if !isPath(s) {
			return nil, fault.New(fault.Invalid, "debian: archive %s: %q is no component or architecture", cfg.Name, clip(s))
		}
	}
	return &Archive{cfg: cfg, client: client, opt: opt.withDefaults()}, nil
}

// Name is the configured name.
func (a *Archive) Name() string { return a.cfg.Name }

// Blobs names the files that a fingerprint needs.
func (a *Archive) Blobs(at crawl.Fingerprint) []string {
	s, err := decodeState(at)
	if err != nil {
		return nil
	}
	return s.blobs()
}

// Parse makes patches of what Fetch brought.
func (a *Archive) Parse(ctx context.Context, dir string, at crawl.Fingerprint) (crawl.Output, error) {
	s, err := decodeState(at)
	if err != nil {
		return crawl.Output{}, err
	}
	out, err := parse(ctx, dir, s)
	out.Notes = s.unnumbered("set release for this archive in the publisher's configuration, such as 'release: debian-12'")
	return out, err
}

// Fetch asks for InRelease conditionally, proves it and brings the indexes
// that changed. fault.Untrusted means that something was refused and the
// previous state stays: a bad signature, a wrong hash, a step back in time, an
// expired Release file.
func (a *Archive) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	s, err := decodeState(prev)
	if err != nil {
		return crawl.Fetched{}, err
	}
	entry := a.entry(&s)
	raw, seen, err := a.inRelease(ctx, dir, *entry)
	if err != nil {
		return crawl.Fetched{}, err
	}
	o, err := a.origin()
	if err != nil {
		return crawl.Fetched{}, err
	}
	now := a.opt.Now()
	proven, err := verifyInRelease(raw, o, now)
	if err != nil {
		return crawl.Fetched{}, err
	}
	if err := proven.notBefore(entry.Current.Archive); err != nil {
		return crawl.Fetched{}, err
	}
	notes, err := a.fresh(proven, now)
	if err != nil {
		return crawl.Fetched{}, err
	}
	snap, number := proven.place(o)
	numberReleases([]*snapshot{&snap}, map[*snapshot]string{&snap: number}, a.opt.Names)
	if snap.Archive, err = intake(ctx, dir, proven, entry.all(), a.wanted(dir, proven.release)); err != nil {
		return crawl.Fetched{}, err
	}
	changed, err := entry.advance(ctx, dir, snap, now, a.opt.Keep)
	if err != nil {
		return crawl.Fetched{}, err
	}
	entry.Seen = seen
	fp, err := s.encode()
	return crawl.Fetched{Changed: changed, Fingerprint: fp, Notes: notes}, err
}

// fresh refuses an expired Release file, or notes it where that is allowed.
func (a *Archive) fresh(s signed, now time.Time) (notes []string, err error) {
	why := expired(s.archive, now)
	switch {
	case why == "":
		return nil, nil
	case a.cfg.AllowExpired:
		return []string{why}, nil
	}
	return nil, fault.New(fault.Untrusted, "debian: refused: %s", why).
		WithHint("Find out why the mirror is stale. To publish it all the same, set allow_expired for this archive.")
}

// entry finds the remembered suite; another address or suite starts afresh.
func (a *Archive) entry(s *state) *suite {
	key := a.cfg.URI + " " + a.cfg.Suite
	if x := s.find(key); x != nil {
		s.Suites = []*suite{x}
		return x
	}
	x := &suite{Key: key}
	s.Suites = []*suite{x}
	return x
}

func (a *Archive) origin() (origin, error) {
	keys, err := loadKeys([]string{a.cfg.Keyring}, "", nil, nil)
	o := origin{path: a.cfg.Suite, keys: keys, keyring: a.cfg.EndpointKeyring, security: a.cfg.Security, release: a.cfg.Release, uri: a.cfg.URI}
	if o.keyring == "" && strings.HasPrefix(a.cfg.Keyring, "/usr/share/keyrings/") {
		o.keyring = a.cfg.Keyring
	}
	return o, err
}

func (a *Archive) dists(parts ...string) string {
	return strings.TrimSuffix(a.cfg.URI, "/") + "/dists/" + a.cfg.Suite + "/" + path.Join(parts...)
}

// inRelease gives the bytes of the current InRelease: new ones, or those at
// hand when the archive says that they are current.
func (a *Archive) inRelease(ctx context.Context, dir string, entry suite) (raw []byte, seen string, err error) {
	req := fetch.Request{URL: a.dists("InRelease"), MaxSize: maxInRelease}
	if entry.Current.Archive.ID != "" {
		req.Fingerprint = entry.Seen
	}
	got, err := a.client.Get(ctx, req)
	if err != nil {
		return nil, "", fault.Wrap(err, fault.CodeOf(err), "debian: %s/InRelease can't be fetched", a.cfg.Suite)
	}
	if !got.NotModified {
		return got.Body, got.Fingerprint, nil
	}
	if raw, err = os.ReadFile(crawl.BlobPath(dir, entry.Current.Archive.InRelease.SHA256)); err != nil {
		return nil, "", fault.Wrap(err, fault.Unavailable, "debian: %s/InRelease can't be read", a.cfg.Suite)
	}
	return raw, got.Fingerprint, nil
}

// Holds names the snapshots whose payloads the archive may still offer.
func (a *Archive) Holds(at crawl.Fingerprint) []string { return held(at) }

// Payloads fetches package files into dir, which must exist, and returns their
// paths by SHA-256. The first that can't be had ends it.
func (a *Archive) Payloads(ctx context.Context, at crawl.Fingerprint, items []crawl.Wanted, dir string) (map[string]string, error) {
	out := map[string]string{}
	for _, w := range items {
		p := w.Item.Payload
		from, err := payloadURL(a.cfg.URI, p.Name)
		if err != nil {
			return nil, err
		}
		to := filepath.Join(dir, p.SHA256+".deb")
		a.opt.Progress("fetching " + path.Base(p.Name))
		if err := a.client.Download(ctx, fetch.Request{URL: from}, to, p.SHA256, p.Size); err != nil {
			return nil, fault.Wrap(err, fault.CodeOf(err), "debian: %s can't be fetched", path.Base(p.Name))
		}
		out[p.SHA256] = to
	}
	return out, nil
}
