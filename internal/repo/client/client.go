package client

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// Limits bound what an untrusted repository may make a client do. Zero parts
// take the defaults.
type Limits struct {
	// Largest metadata files in bytes: 512 KB root, 16 KB timestamp, 2 MB
	// snapshot, 16 MB targets.
	Root, Timestamp, Snapshot, Targets int64
	// Rotations is how many root versions one Refresh follows: 256.
	Rotations int
	// Metadata is the longest time for one metadata file: 1 minute.
	Metadata time.Duration
	// Within Stall at least StallBytes of a download must arrive: 64 KB in
	// each minute, about 1 KB/s.
	Stall      time.Duration
	StallBytes int64
}

// Options describe a client.
type Options struct {
	// Root is the pinned root file. repo.CheckRoot has accepted it, or it
	// came with the program.
	Root []byte
	// Dir is the state folder. It is made when missing and belongs to this
	// client alone.
	Dir string
	// Transport leads to the repository.
	Transport Transport
	// Limits bound it.
	Limits Limits
}

// Target is a file that the repository vouches for.
type Target struct {
	Name   string            `json:"name"`
	Length int64             `json:"length"` // bytes
	Hashes map[string]string `json:"hashes"` // algorithm -> lower-case hex; sha256 is always there
	// Custom is what the publisher attached, or nil.
	Custom json.RawMessage `json:"custom,omitempty"`
	// Version is the catalog version (of targets metadata) that names it.
	Version int64 `json:"version"`
}

// RoleStatus is what stands in a role's current metadata.
type RoleStatus struct {
	Version   int64     `json:"version"`
	Expires   time.Time `json:"expires"`
	Signers   []string  `json:"signers"`   // ids of the keys whose signatures are good
	Threshold int       `json:"threshold"` // how many of them must be
}

// Status is the last good state.
type Status struct {
	// Version is the catalog version (of targets metadata); 0 before the
	// first successful Refresh.
	Version int64 `json:"version"`
	// Expires is when the first of the roles expires.
	Expires time.Time `json:"expires"`
	// Refreshed is when the repository last proved to be current.
	Refreshed time.Time `json:"refreshed"`
	// Fingerprint is repo.RootFingerprint of the pinned root.
	Fingerprint string                   `json:"fingerprint"`
	Roles       map[repo.Role]RoleStatus `json:"roles"`
}

// Expired reports whether the state can no longer be called current at now.
func (s Status) Expired(now time.Time) bool { return now.After(s.Expires) }

// Client follows one repository. It is safe for concurrent use.
type Client struct {
	opts        Options
	fingerprint string

	refreshing sync.Mutex                            // held by Refresh; guards the next two
	root       *metadata.Metadata[metadata.RootType] // newest root that is trusted
	stamp      []byte                                // newest timestamp file that is trusted, or nil

	mu     sync.RWMutex                     // guards the next two
	good   *trustedmetadata.TrustedMetadata // never changed, only replaced; nil before the first refresh
	status Status
}

// New returns a client that starts from the last good state in its folder, if
// there is one; it uses no network. It returns fault.Untrusted for a root that
// does not verify and fault.Conflict when the folder holds the state of another
// repository. Damaged state counts as none, after which only the pinned root
// protects from a rollback.
func New(opts Options) (*Client, error) {
	root, err := repo.ParseRoot(opts.Root)
	if err != nil {
		return nil, err
	}
	fingerprint, err := repo.RootFingerprint(opts.Root)
	if err != nil {
		return nil, err
	}
	opts.Root = slices.Clone(opts.Root)
	opts.Limits = opts.Limits.withDefaults()
	c := &Client{opts: opts, root: root, fingerprint: fingerprint}
	c.status.Fingerprint = fingerprint
	if err := c.pin(); err != nil {
		return nil, err
	}
	c.restore()
	return c, nil
}

// Status returns the last good state.
func (c *Client) Status() Status {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := c.status
	s.Roles = maps.Clone(s.Roles)
	return s
}

// Target returns what the last good state says about a target, even when that
// state has expired by now: whether old is good enough is the caller's
// decision, see Status.Expired. It returns fault.NotFound for a name that the
// repository does not vouch for, fault.Unavailable before the first Refresh.
func (c *Client) Target(name string) (Target, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.good == nil {
		return Target{}, fault.New(fault.Unavailable, "client: nothing is known of the repository yet").
			WithHint("It has to be reached once; then the last good state is kept.")
	}
	file, ok := c.targets().Signed.Targets[name]
	if !ok {
		return Target{}, fault.New(fault.NotFound, "client: catalog version %d has no %q", c.targets().Signed.Version, name)
	}
	return c.target(name, file)
}

// Targets returns all targets of the last good state by name, none before the
// first Refresh. Targets without a SHA-256 or with an unsafe name are left out:
// they can't be downloaded either.
func (c *Client) Targets() []Target {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.good == nil {
		return nil
	}
	files := c.targets().Signed.Targets
	list := make([]Target, 0, len(files))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if t, err := c.target(name, files[name]); err == nil {
			list = append(list, t)
		}
	}
	return list
}

func (c *Client) targets() *metadata.Metadata[metadata.TargetsType] {
	return c.good.Targets[metadata.TARGETS]
}

func (c *Client) target(name string, file *metadata.TargetFiles) (Target, error) {
	t := Target{Name: name, Length: file.Length, Hashes: map[string]string{}, Version: c.targets().Signed.Version}
	for alg, sum := range file.Hashes {
		t.Hashes[alg] = hex.EncodeToString(sum)
	}
	if err := repo.CheckName(name); err != nil {
		return Target{}, fault.Wrap(err, fault.Untrusted, "client: a target is refused")
	}
	if repo.CheckHash(t.Hashes["sha256"]) != nil || t.Length < 0 {
		return Target{}, fault.New(fault.Untrusted, "client: target %s is refused: it has no SHA-256 or no length", name)
	}
	if file.Custom != nil {
		t.Custom = slices.Clone(*file.Custom)
	}
	return t, nil
}

// describeAll is the status of a complete set.
func describeAll(set *trustedmetadata.TrustedMetadata) Status {
	root, stamp, snap, targets := set.Root, set.Timestamp, set.Snapshot, set.Targets[metadata.TARGETS]
	s := Status{Version: targets.Signed.Version, Roles: map[repo.Role]RoleStatus{
		repo.Root:      describe(root, repo.Root, root, root.Signed.Version, root.Signed.Expires),
		repo.Timestamp: describe(root, repo.Timestamp, stamp, stamp.Signed.Version, stamp.Signed.Expires),
		repo.Snapshot:  describe(root, repo.Snapshot, snap, snap.Signed.Version, snap.Signed.Expires),
		repo.Targets:   describe(root, repo.Targets, targets, targets.Signed.Version, targets.Signed.Expires),
	}}
	s.Expires = slices.MinFunc(slices.Collect(maps.Values(s.Roles)), func(a, b RoleStatus) int {
		return a.Expires.Compare(b.Expires)
	}).Expires
	return s
}

// describe fills in a role's status; signers are verified, not just listed.
func describe[T metadata.Roles](root *metadata.Metadata[metadata.RootType], role repo.Role, m *metadata.Metadata[T], version int64, expires time.Time) RoleStatus {
	s := RoleStatus{Version: version, Expires: expires}
	r := root.Signed.Roles[string(role)]
	s.Threshold = r.Threshold
	for _, id := range r.KeyIDs {
		alone := &metadata.Metadata[metadata.RootType]{Signed: metadata.RootType{
			Keys:  root.Signed.Keys,
			Roles: map[string]*metadata.Role{string(role): {KeyIDs: []string{id}, Threshold: 1}},
		}}
		if alone.VerifyDelegate(string(role), m) == nil {
			s.Signers = append(s.Signers, id)
		}
	}
	return s
}

func (l Limits) withDefaults() Limits {
	for _, p := range []struct {
		have *int64
		want int64
	}{{&l.Root, 512 << 10}, {&l.Timestamp, 16 << 10}, {&l.Snapshot, 2 << 20}, {&l.Targets, 16 << 20}, {&l.StallBytes, 64 << 10}} {
		if *p.have <= 0 {
			*p.have = p.want
		}
	}
	if l.Rotations <= 0 {
		l.Rotations = 256
	}
	if l.Metadata <= 0 {
		l.Metadata = time.Minute
	}
	if l.Stall <= 0 {
		l.Stall = time.Minute
	}
	return l
}
