package client

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// Refresh brings the state up to date and reports whether the catalog version
// changed. An unchanged repository costs two small requests. Errors keep the
// last good state: fault.Untrusted says what the repository offered and why it
// is refused (rolled back, expired, mixed up, too few signatures, too long),
// fault.Unavailable and fault.Denied that it can't be reached,
// fault.Exhausted that the state folder's disk is full.
func (c *Client) Refresh(ctx context.Context, now time.Time) (changed bool, err error) {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	before := c.Status().Version
	s := &session{c: c, set: c.begin(now.UTC())}
	for _, step := range []func(context.Context) error{s.roots, s.timestamp, s.snapshot, s.targets} {
		if err := step(ctx); err != nil {
			return false, err
		}
	}
	if err := s.commit(); err != nil {
		return false, err
	}
	return c.Status().Version != before, c.seen(now.UTC())
}

// session is one run of the workflow.
type session struct {
	c     *Client
	set   *trustedmetadata.TrustedMetadata
	stamp []byte    // the timestamp file that set holds
	fresh []newFile // verified files that are not stored yet
}

type newFile struct {
	role    repo.Role
	version int64
	data    []byte
}

// roots follows root rotations. Each is signed by its predecessor, so each is
// stored and trusted at once (specification 5.3.8), whatever comes later.
func (s *session) roots(ctx context.Context) error {
	for range s.c.opts.Limits.Rotations {
		next := s.set.Root.Signed.Version + 1
		data, err := s.c.fetch(ctx, repo.Root, next, s.c.opts.Limits.Root)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		err = guard(func() error { _, err := s.set.UpdateRoot(data); return err })
		if err != nil {
			return s.refuse(repo.Root, err, data, s.set.Root.Signed.Version)
		}
		if err := s.c.store(repo.Root, next, data); err != nil {
			return err
		}
		s.c.root = s.set.Root
	}
	return nil
}

func (s *session) timestamp(ctx context.Context) error {
	var seen int64
	if s.c.stamp != nil {
		// An expired one still protects from a rollback. One that the newest
		// root no longer vouches for does not: its key has been replaced.
		_ = guard(func() error { _, err := s.set.UpdateTimestamp(s.c.stamp); return err })
		if s.set.Timestamp != nil {
			s.stamp, seen = s.c.stamp, s.set.Timestamp.Signed.Version
		}
	}
	data, err := s.c.fetch(ctx, repo.Timestamp, 0, s.c.opts.Limits.Timestamp)
	if err != nil {
		return err
	}
	err = guard(func() error { _, err := s.set.UpdateTimestamp(data); return err })
	if _, equal := errors.AsType[*metadata.ErrEqualVersionNumber](err); equal {
		if s.set.Timestamp.Signed.IsExpired(s.set.RefTime) {
			return s.expired(repo.Timestamp, s.set.Timestamp.Signed.Expires)
		}
		return nil // an equal version never replaces the one that is held
	}
	if err != nil {
		if errors.Is(err, &metadata.ErrExpiredMetadata{}) && s.set.Root.Signed.IsExpired(s.set.RefTime) {
			return s.expired(repo.Root, s.set.Root.Signed.Expires)
		}
		return s.refuse(repo.Timestamp, err, data, seen)
	}
	s.stamp = data
	s.fresh = append(s.fresh, newFile{repo.Timestamp, s.set.Timestamp.Signed.Version, data})
	return nil
}

func (s *session) snapshot(ctx context.Context) error {
	meta := s.set.Timestamp.Signed.Meta["snapshot.json"]
	if meta == nil {
		return fault.New(fault.Untrusted, "client: the repository's timestamp names no snapshot")
	}
	// What is stored protects from a rollback, and is used when still current.
	if stored := s.storedSnapshot(); stored != nil {
		err := guard(func() error { _, err := s.set.UpdateSnapshot(stored, true); return err })
		if err == nil && meta.VerifyLengthHashes(stored) == nil {
			return nil
		}
	}
	var seen int64
	if s.set.Snapshot != nil {
		seen = versionOf(s.set.Snapshot)
	}
	data, err := s.c.fetchMeta(ctx, repo.Snapshot, meta, s.c.opts.Limits.Snapshot)
	if err != nil {
		return err
	}
	err = guard(func() error { _, err := s.set.UpdateSnapshot(data, false); return err })
	if err == nil {
		s.fresh = append(s.fresh, newFile{repo.Snapshot, meta.Version, data})
		return nil
	}
	if offered, ok := catalogVersion(data); ok && offered < seen {
		return s.rolledBack("catalog", offered, seen)
	}
	return s.refuse(repo.Snapshot, err, data, meta.Version)
}

// storedSnapshot returns the snapshot that the stored timestamp vouches for.
func (s *session) storedSnapshot() []byte {
	if s.c.stamp == nil {
		return nil
	}
	var data []byte
	_ = guard(func() error { // nothing stored is nothing to use
		old, err := metadata.Timestamp().FromBytes(s.c.stamp)
		if err == nil {
			data, err = s.c.load(repo.Snapshot, old.Signed.Meta["snapshot.json"].Version)
		}
		return err
	})
	return data
}

func (s *session) targets(ctx context.Context) error {
	meta := s.set.Snapshot.Signed.Meta["targets.json"]
	if meta == nil {
		return fault.New(fault.Untrusted, "client: the repository's snapshot names no targets")
	}
	if stored, err := s.c.load(repo.Targets, meta.Version); err == nil {
		if guard(func() error { _, err := s.set.UpdateTargets(stored); return err }) == nil {
			return nil
		}
	}
	data, err := s.c.fetchMeta(ctx, repo.Targets, meta, s.c.opts.Limits.Targets)
	if err != nil {
		return err
	}
	err = guard(func() error { _, err := s.set.UpdateTargets(data); return err })
	if err != nil {
		return s.refuse(repo.Targets, err, data, meta.Version)
	}
	s.fresh = append(s.fresh, newFile{repo.Targets, meta.Version, data})
	return nil
}

// commit stores what is new, the timestamp last: it is what restore starts
// from, so a crash before it leaves the old state and one after it the new.
func (s *session) commit() error {
	var stamp *newFile
	for i, f := range s.fresh {
		if f.role == repo.Timestamp {
			stamp = &s.fresh[i]
			continue
		}
		if err := s.c.store(f.role, f.version, f.data); err != nil {
			return err
		}
	}
	if stamp != nil {
		if err := s.c.store(repo.Timestamp, 0, stamp.data); err != nil {
			return err
		}
	}
	unchanged := bytes.Equal(s.stamp, s.c.stamp)
	s.c.stamp = s.stamp
	old := s.c.good
	if unchanged && old != nil && old.Root == s.set.Root {
		return nil // the parsed state that is held is this one
	}
	s.c.adopt(s.set, s.set.RefTime)
	s.c.forget(old, s.set)
	return nil
}

// forget removes the stored files of the state before. They are small and no
// longer referred to, so a failure is left for the next time.
func (c *Client) forget(old, now *trustedmetadata.TrustedMetadata) {
	if old == nil {
		return
	}
	if v := old.Snapshot.Signed.Version; v != now.Snapshot.Signed.Version {
		_ = os.Remove(c.path(repo.Snapshot, v))
	}
	v := old.Targets[metadata.TARGETS].Signed.Version
	if v != now.Targets[metadata.TARGETS].Signed.Version {
		_ = os.Remove(c.path(repo.Targets, v))
	}
}

// versionOf is the catalog version that a snapshot vouches for.
func versionOf(snapshot *metadata.Metadata[metadata.SnapshotType]) int64 {
	if m := snapshot.Signed.Meta["targets.json"]; m != nil {
		return m.Version
	}
	return 0
}
