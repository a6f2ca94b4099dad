// Package mirror subscribes the server to a signed repository.
//
// Sync verifies what the repository offers, unpacks and opens the shards,
// brings in the index files that agents need for planning, and only then puts
// the new catalog in place: as a byte-for-byte copy that agents verify for
// themselves, and as open shards for the server. Whatever fails, the last good
// catalog stays in use and Status says what was refused and why.
//
// Payloads come in on a trigger of their own (Stage), once, by hash, from a
// list of sources.
//
// Deltas between shards are mirrored for agents. The server itself unpacks the
// whole shard, which it has to have for new agents anyway.
package mirror

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	blobfs "github.com/fettlehq/fettle/internal/blob/fs"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/repo/client"
)

// Config is what a mirror is made of.
type Config struct {
	// Dir is the mirror's own folder; it is made when missing.
	Dir string
	// Source is the repository: a folder, or an http or https address.
	Source string
	// Root is the repository's pinned root metadata.
	Root []byte
	// Client reaches http sources; nil means http.DefaultClient.
	Client *http.Client
	// Blobs is where payloads and indexes go.
	Blobs *blobfs.Store
	// Sources are asked for payloads in this order, after the repository.
	Sources []PayloadSource
	// Changed is called with the platforms whose shards are new, after a
	// Sync that changed something. May be nil.
	Changed func(platforms []string)
	Log     *slog.Logger
	// Now is the clock by which payloads are of use; nil means time.Now.
	Now func() time.Time
}

// Mirror follows one repository. It is safe for concurrent use.
type Mirror struct {
	cfg     Config
	client  *client.Client
	copy    *os.Root // the copy that agents are served
	sources []PayloadSource
	stager  stager

	syncing sync.Mutex // one Sync at a time

	mu     sync.RWMutex
	good   state
	shards map[string]*catalog.Shard
	needed map[string]patch.Payload // blobs that the shards themselves name
	last   attempt
}

// state is what stands in mirror.json: the catalog in use.
type state struct {
	Synced time.Time            `json:"synced"`
	Shards map[string]shardFile `json:"shards"`
}

// shardFile is one unpacked shard.
type shardFile struct {
	Target  string `json:"target"` // SHA-256 of the packed target
	File    string `json:"file"`   // name in the catalog folder
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"`
	Version int64  `json:"version"`
}

// attempt is how the last Sync went.
type attempt struct {
	at  time.Time
	err error
}

// New opens the mirror with the last good catalog that it finds in its folder;
// it uses no network. Shards that can't be opened any more count as none.
func New(cfg Config) (*Mirror, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for _, dir := range []string{"state", "repository", "catalog"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755); err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "mirror: the folder %s can't be made", cfg.Dir)
		}
	}
	transport, err := open(cfg)
	if err != nil {
		return nil, err
	}
	c, err := client.New(client.Options{Root: cfg.Root, Dir: filepath.Join(cfg.Dir, "state"), Transport: transport})
	if err != nil {
		return nil, fault.Wrap(err, fault.CodeOf(err), "mirror: the subscription can't be opened")
	}
	root, err := os.OpenRoot(filepath.Join(cfg.Dir, "repository"))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "mirror: the copy can't be opened")
	}
	m := &Mirror{cfg: cfg, client: c, copy: root, shards: map[string]*catalog.Shard{}, needed: map[string]patch.Payload{}}
	m.sources = append([]PayloadSource{repositorySource{transport}}, cfg.Sources...)
	m.stager.init()
	return m, m.restore()
}

// Close releases the folder. Shards that are in use stay readable.
func (m *Mirror) Close() error {
	if err := m.copy.Close(); err != nil {
		return fault.Wrap(err, fault.Unavailable, "mirror: the copy can't be closed")
	}
	return nil
}

// open picks the transport. A folder that is not there yet (a share that is
// not mounted, a publisher that has not published) is tried at each request.
func open(cfg Config) (client.Transport, error) {
	if strings.HasPrefix(cfg.Source, "http://") || strings.HasPrefix(cfg.Source, "https://") {
		hc := cfg.Client
		if hc == nil {
			hc = http.DefaultClient
		}
		return client.NewHTTP(cfg.Source, hc)
	}
	if cfg.Source == "" {
		return nil, fault.New(fault.Invalid, "mirror: no repository is named to subscribe to")
	}
	return &folder{path: strings.TrimPrefix(cfg.Source, "file://")}, nil
}

func (m *Mirror) statePath() string { return filepath.Join(m.cfg.Dir, "mirror.json") }

func (m *Mirror) shardPath(file string) string { return filepath.Join(m.cfg.Dir, "catalog", file) }

// restore opens the shards of the last good catalog.
func (m *Mirror) restore() error {
	data, err := os.ReadFile(m.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s state
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		m.cfg.Log.Warn("the mirror's state is damaged; the next synchronisation makes it anew", "error", err)
		return nil
	}
	shards := map[string]*catalog.Shard{}
	for platform, f := range s.Shards {
		shard, err := m.openShard(platform, f)
		if err != nil {
			m.cfg.Log.Warn("a shard is damaged; the next synchronisation makes it anew", "platform", platform, "error", err)
			delete(s.Shards, platform)
			continue
		}
		shards[platform] = shard
	}
	m.use(s, shards)
	return nil
}

// use puts a catalog in place. Shards that were in use before stay open until
// their last reader lets go of them.
func (m *Mirror) use(s state, shards map[string]*catalog.Shard) {
	needed := map[string]patch.Payload{}
	for _, shard := range shards {
		for _, p := range indexBlobs(shard.Header()) {
			needed[p.SHA256] = p
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.good, m.shards, m.needed = s, shards, needed
}

func (m *Mirror) saveState(s state) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fault.Wrap(err, fault.Internal, "mirror: the state can't be encoded")
	}
	return atomicfile.Write(m.statePath(), data, 0o644)
}

// Version is the version of the catalog in use as its shards carry it and
// agents report it, 0 before the first.
func (m *Mirror) Version() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.good.version()
}

// version is the newest of the shards'; those of one publication carry the same.
func (s state) version() int64 {
	var v int64
	for _, f := range s.Shards {
		v = max(v, f.Version)
	}
	return v
}

// Shard returns the open shard of a platform. It stays readable for as long as
// somebody holds it, also after a newer one has come.
func (m *Mirror) Shard(platform string) (*catalog.Shard, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, ok := m.shards[platform]
	return s, ok
}

// Platforms returns the names of the platforms that have a shard, sorted.
func (m *Mirror) Platforms() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Sorted(maps.Keys(m.shards))
}

// Root returns the pinned root metadata, which enrolling agents are given.
func (m *Mirror) Root() ([]byte, error) { return slices.Clone(m.cfg.Root), nil }

// OpenFile opens a file of the copy that agents are served.
func (m *Mirror) OpenFile(path string) (*os.File, error) {
	f, err := m.copy.Open(filepath.FromSlash(path))
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "mirror: the repository has no %.200q", path)
	}
	return f, nil
}

// Serves reports whether the catalog in use names the blob itself: an index or
// an InRelease file, which any agent may need to plan.
func (m *Mirror) Serves(sha256 string) bool {
	_, ok := m.Index(sha256)
	return ok
}

// Index describes a blob that the catalog in use names itself; ok is false for
// any other.
func (m *Mirror) Index(sha256 string) (p patch.Payload, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, ok = m.needed[sha256]
	return p, ok
}
