package publish

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

type (
	rootFile      = metadata.Metadata[metadata.RootType]
	targetsFile   = metadata.Metadata[metadata.TargetsType]
	snapshotFile  = metadata.Metadata[metadata.SnapshotType]
	timestampFile = metadata.Metadata[metadata.TimestampType]
)

// Options tune a repository. The zero value gives the defaults.
type Options struct {
	// Expiry is how long new signatures are good; zero parts take
	// repo.DefaultExpiry.
	Expiry repo.Expiry
	// Keep is how many versions older than the current one Prune leaves in
	// place for slow readers. Zero means 5; negative means none.
	Keep int
}

// Quorum says how many keys a role has and how many must sign.
type Quorum struct {
	Keys, Threshold int
}

// Setup describes a new repository. The zero value gives root three keys of
// which two must sign, and every other role one key.
type Setup struct {
	Options
	// Roles overrides the number of keys per role.
	Roles map[repo.Role]Quorum
	// RootKeysDir is where the root keys go, for example a memory stick that
	// then goes into a safe. Empty means with the other keys.
	RootKeysDir string
	// Passphrase seals the keys of targets, snapshot and timestamp,
	// RootPassphrase those of root. Empty stores them plainly, mode 0600.
	Passphrase, RootPassphrase []byte
}

// Version is the state of a repository: the version of each role's metadata.
// Targets is what people call the catalog version.
type Version struct {
	Root      int64 `json:"root"`
	Targets   int64 `json:"targets"`
	Snapshot  int64 `json:"snapshot"`
	Timestamp int64 `json:"timestamp"`
}

// Repository is a repository that can be changed. It is not safe for
// concurrent use.
type Repository struct {
	dir    string
	opts   Options
	keys   []Key
	state  state
	staged map[string]*metadata.TargetFiles // nil value: take out
	// incoming numbers the files on their way in.
	incoming atomic.Int64
}

// state is one consistent set of signed metadata.
type state struct {
	root      *rootFile
	targets   *targetsFile
	snapshot  *snapshotFile
	timestamp *timestampFile
}

// Init makes an empty repository in dir and its keys in keysDir, and returns
// it open. A folder that holds a repository already gives fault.Conflict.
func Init(ctx context.Context, dir, keysDir string, now time.Time, setup Setup) (*Repository, error) {
	if _, err := os.Lstat(filepath.Join(dir, repo.MetadataDir)); err == nil {
		return nil, fault.New(fault.Conflict, "publish: %s holds a repository already", dir)
	}
	r := &Repository{dir: dir, opts: setup.withDefaults(), staged: map[string]*metadata.TargetFiles{}}
	root := metadata.Root(until(now, r.opts.Expiry.Root))
	rootKeys, err := r.makeKeys(root, keysDir, setup)
	if err != nil {
		return nil, err
	}
	data, err := sign(root, repo.Root, []*rootFile{root}, rootKeys)
	if err != nil {
		return nil, err
	}
	if err := r.write(repo.MetadataPath(repo.Root, 1), data); err != nil {
		return nil, err
	}
	r.state.root = root
	return r, r.release(ctx, now, batch{targets: true, snapshot: true})
}

// makeKeys generates and saves the keys of all roles, enters them into root,
// keeps the daily ones and returns the root keys.
func (r *Repository) makeKeys(root *rootFile, keysDir string, setup Setup) (rootKeys []Key, err error) {
	for _, role := range repo.Roles() {
		q, ok := setup.Roles[role]
		if !ok {
			q = defaultQuorum(role)
		}
		if q.Threshold < 1 || q.Keys < q.Threshold {
			return nil, fault.New(fault.Invalid, "publish: role %s can't have %d keys and a threshold of %d", role, q.Keys, q.Threshold)
		}
		dir, passphrase := keysDir, setup.Passphrase
		if role == repo.Root {
			passphrase = setup.RootPassphrase
			if setup.RootKeysDir != "" {
				dir = setup.RootKeysDir
			}
		}
		for range q.Keys {
			key, err := NewKey(role)
			if err != nil {
				return nil, err
			}
			if _, err := key.Save(dir, passphrase); err != nil {
				return nil, err
			}
			if err := root.Signed.AddKey(key.public, string(role)); err != nil {
				return nil, fault.Wrap(err, fault.Internal, "publish: the %s can't enter the root", key)
			}
			if role == repo.Root {
				rootKeys = append(rootKeys, key)
			} else {
				r.keys = append(r.keys, key)
			}
		}
		root.Signed.Roles[string(role)].Threshold = q.Threshold
	}
	return rootKeys, nil
}

// Open opens the repository in dir for changes with the given keys; root keys
// among them are not needed. Everything that will be signed again is verified
// first, except expiry: fault.Untrusted means that the folder was damaged or
// tampered with, fault.NotFound that it holds no repository.
func Open(dir string, keys []Key, opts Options) (*Repository, error) {
	r := &Repository{
		dir: dir, opts: opts.withDefaults(), keys: slices.Clone(keys),
		staged: map[string]*metadata.TargetFiles{},
	}
	set, err := r.loadRoots()
	if err != nil {
		return nil, err
	}
	set.RefTime = time.Time{} // an expired repository must still be openable, to renew it
	for _, step := range []func() error{
		func() error { return load(r, repo.Timestamp, 0, set.UpdateTimestamp) },
		func() error {
			return load(r, repo.Snapshot, versionOf(set.Timestamp.Signed.Meta, "snapshot.json"),
				func(b []byte) (*snapshotFile, error) { return set.UpdateSnapshot(b, false) })
		},
		func() error {
			return load(r, repo.Targets, versionOf(set.Snapshot.Signed.Meta, "targets.json"), set.UpdateTargets)
		},
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	r.state = state{root: set.Root, targets: set.Targets[metadata.TARGETS], snapshot: set.Snapshot, timestamp: set.Timestamp}
	return r, nil
}

// loadRoots walks the chain of root files from the first to the newest.
func (r *Repository) loadRoots() (*trustedmetadata.TrustedMetadata, error) {
	data, err := r.read(repo.MetadataPath(repo.Root, 1))
	if err != nil {
		return nil, err
	}
	set, err := trustedmetadata.New(data)
	if err != nil {
		return nil, fault.Wrap(err, fault.Untrusted, "publish: the first root file of %s is refused", r.dir)
	}
	for n := int64(2); ; n++ {
		data, err := r.read(repo.MetadataPath(repo.Root, n))
		if fault.Is(err, fault.NotFound) {
			return set, nil
		}
		if err != nil {
			return nil, err
		}
		if _, err := set.UpdateRoot(data); err != nil {
			return nil, fault.Wrap(err, fault.Untrusted, "publish: root file %d of %s is refused", n, r.dir)
		}
	}
}

func load[T metadata.Roles](r *Repository, role repo.Role, version int64, update func([]byte) (*metadata.Metadata[T], error)) error {
	data, err := r.read(repo.MetadataPath(role, version))
	if err != nil {
		return err
	}
	if _, err := update(data); err != nil {
		return fault.Wrap(err, fault.Untrusted, "publish: the %s file of %s is refused", role, r.dir).
			WithHint("Somebody or something changed the published files. Restore the folder from a copy before you sign anything.")
	}
	return nil
}

// Version returns the versions of the current metadata.
func (r *Repository) Version() Version {
	return Version{
		Root:      r.state.root.Signed.Version,
		Targets:   r.state.targets.Signed.Version,
		Snapshot:  r.state.snapshot.Signed.Version,
		Timestamp: r.state.timestamp.Signed.Version,
	}
}

// RootJSON returns the bytes of the first root file: what a new client pins,
// and what repo.RootFingerprint is taken of.
func (r *Repository) RootJSON() ([]byte, error) {
	return r.read(repo.MetadataPath(repo.Root, 1))
}

func (r *Repository) read(path string) ([]byte, error) {
	data, err := os.ReadFile(r.path(path))
	if err != nil {
		return nil, fault.Wrap(err, codeFor(err), "publish: %s cannot be read", path)
	}
	return data, nil
}

func (r *Repository) write(path string, data []byte) error {
	full := r.path(path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return fault.Wrap(err, codeFor(err), "publish: the folder of %s cannot be made", path)
	}
	if err := atomicfile.Write(full, data, 0o644); err != nil {
		return fault.Wrap(err, codeFor(err), "publish: %s cannot be written", path)
	}
	return nil
}

func (r *Repository) path(path string) string {
	return filepath.Join(r.dir, filepath.FromSlash(path))
}

func (o Options) withDefaults() Options {
	o.Expiry = o.Expiry.OrDefault()
	if o.Keep == 0 {
		o.Keep = 5
	}
	o.Keep = max(o.Keep, 0)
	return o
}

func defaultQuorum(role repo.Role) Quorum {
	if role == repo.Root {
		return Quorum{Keys: 3, Threshold: 2}
	}
	return Quorum{Keys: 1, Threshold: 1}
}

// until is now plus d in the whole seconds of UTC that TUF demands.
func until(now time.Time, d time.Duration) time.Time {
	return now.UTC().Truncate(time.Second).Add(d)
}

func versionOf(meta map[string]*metadata.MetaFiles, name string) int64 {
	if m := meta[name]; m != nil {
		return m.Version
	}
	return 0
}

// codeFor gives the code of an operating system's error.
func codeFor(err error) fault.Code {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.NotFound
	case errors.Is(err, fs.ErrPermission):
		return fault.Denied
	}
	if code := fault.CodeOf(err); code != fault.Internal {
		return code
	}
	return fault.Unavailable
}
