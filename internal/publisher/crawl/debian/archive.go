package debian

import (
	"context"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/ulikunitz/xz"

	"github.com/fettlehq/fettle/internal/authentic"
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
	return parse(ctx, dir, s)
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
	var notes []string
	if why := expired(proven.archive, now); why != "" {
		if !a.cfg.AllowExpired {
			return crawl.Fetched{}, fault.New(fault.Untrusted, "debian: refused: %s", why).
				WithHint("Find out why the mirror is stale. To publish it all the same, set allow_expired for this archive.")
		}
		notes = append(notes, why)
	}
	snap, number := proven.place(o)
	if snap.Release == "" && !snap.Own {
		return crawl.Fetched{}, fault.New(fault.Invalid, "debian: archive %s: set release, such as debian-12", a.cfg.Name)
	}
	numberReleases([]*snapshot{&snap}, map[*snapshot]string{&snap: number})
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

// wanted lists the indexes of the configured components and architectures.
// Where the archive keeps packages for all architectures apart, so do we.
func (a *Archive) wanted(dir string, rel Release) []indexSource {
	arches := append([]string{}, a.cfg.Architectures...)
	if !rel.NoArchAll {
		for _, arch := range rel.Architectures {
			if arch == "all" {
				arches = append(arches, "all")
			}
		}
	}
	var out []indexSource
	for _, component := range a.cfg.Components {
		for _, arch := range arches {
			name := component + "/binary-" + arch + "/Packages"
			if _, ok := rel.Files[name]; !ok && arch == "all" {
				continue
			}
			out = append(out, indexSource{name: name, component: component, arch: arch,
				open: func(ctx context.Context, _ ReleaseFile) (io.ReadCloser, error) {
					return a.openIndex(ctx, dir, rel, name)
				},
			})
		}
	}
	return out
}

// openIndex fetches the smallest form of an index that the archive signs and
// unpacks it. The packed form is checked by its own hash on the way in.
func (a *Archive) openIndex(ctx context.Context, dir string, rel Release, name string) (io.ReadCloser, error) {
	var missing error
	for _, ext := range []string{".xz", ".gz", ""} {
		file, ok := rel.Files[name+ext]
		if !ok {
			continue
		}
		at := a.dists(name + ext)
		if rel.ByHash {
			at = a.dists(path.Dir(name), "by-hash", "SHA256", file.SHA256)
		}
		a.opt.Progress("fetching " + a.cfg.Suite + " " + name)
		to := crawl.BlobPath(dir, ".part-"+file.SHA256)
		if file.Size > maxIndex {
			return nil, fault.New(fault.Exhausted, "debian: index %s of %s has %d bytes, at most %d are taken", name, a.cfg.Suite, file.Size, maxIndex)
		}
		err := a.client.Download(ctx, fetch.Request{URL: at}, to, file.SHA256, file.Size)
		if fault.Is(err, fault.NotFound) {
			missing = err // some archives sign forms that they do not offer
			continue
		}
		if err != nil {
			return nil, fault.Wrap(err, fault.CodeOf(err), "debian: index %s of %s can't be fetched", name, a.cfg.Suite)
		}
		return unpackFile(to, ext, file)
	}
	if missing != nil {
		return nil, fault.Wrap(missing, fault.NotFound, "debian: index %s of %s can't be fetched", name, a.cfg.Suite)
	}
	return nil, fault.New(fault.Unsupported, "debian: %s offers the index %s in no form that is understood (xz, gz, plain)", a.cfg.Suite, name)
}

// unpackFile proves a fetched file by hash and opens it unpacked. Closing it
// removes the file.
func unpackFile(at, ext string, want ReleaseFile) (io.ReadCloser, error) {
	f, err := os.Open(at)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "debian: the fetched index can't be read")
	}
	out := &unpacked{file: f}
	if err := authentic.Checksum(f, want.SHA256, want.Size); err != nil {
		_ = out.Close()
		return nil, fault.Wrap(err, fault.Untrusted, "debian: the fetched index is refused")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		_ = out.Close()
		return nil, fault.Wrap(err, fault.Unavailable, "debian: the fetched index can't be read")
	}
	switch ext {
	case ".xz":
		out.Reader, err = xz.NewReader(f)
	case ".gz":
		out.Reader, err = gzip.NewReader(f)
	default:
		out.Reader = f
	}
	if err != nil {
		_ = out.Close()
		return nil, fault.Wrap(err, fault.Untrusted, "debian: the fetched index can't be unpacked")
	}
	return out, nil
}

type unpacked struct {
	io.Reader
	file *os.File
}

func (u *unpacked) Close() error {
	err := u.file.Close()
	_ = os.Remove(u.file.Name()) // best effort: the next sweep of the folder misses dot files on purpose
	return err
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
