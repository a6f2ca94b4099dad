package publish

import (
	"context"
	"crypto/sha256"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// Publish signs and writes what Add and Remove have staged, as one new
// version. With nothing staged it does what Refresh does. On any error the
// published state is the one from before, and the staged changes stay staged.
// Too few keys for a role's threshold give fault.Denied.
func (r *Repository) Publish(ctx context.Context, now time.Time) (Version, error) {
	if !r.dirty() {
		clear(r.staged)
		return r.Refresh(ctx, now)
	}
	err := r.release(ctx, now, batch{targets: true, snapshot: true})
	return r.Version(), err
}

// Refresh signs again, without any change of content, each role of which half
// of its life time is over, and the roles that vouch for it. It does nothing
// when nothing is due. Root is renewed by RenewRoot only.
func (r *Repository) Refresh(ctx context.Context, now time.Time) (Version, error) {
	e := r.opts.Expiry
	due := func(expires time.Time, life time.Duration) bool { return !now.Before(expires.Add(-life / 2)) }
	targets := due(r.state.targets.Signed.Expires, e.Targets)
	snapshot := targets || due(r.state.snapshot.Signed.Expires, e.Snapshot)
	if !snapshot && !due(r.state.timestamp.Signed.Expires, e.Timestamp) {
		return r.Version(), nil
	}
	staged := r.staged
	r.staged = nil // a refresh publishes nothing that waits for Publish
	err := r.release(ctx, now, batch{targets: targets, snapshot: snapshot})
	r.staged = staged
	return r.Version(), err
}

// NextRefresh returns when Refresh has work to do: the earliest moment at
// which half of a role's life time is over.
func (r *Repository) NextRefresh() time.Time {
	e := r.opts.Expiry
	return slices.MinFunc([]time.Time{
		r.state.targets.Signed.Expires.Add(-e.Targets / 2),
		r.state.snapshot.Signed.Expires.Add(-e.Snapshot / 2),
		r.state.timestamp.Signed.Expires.Add(-e.Timestamp / 2),
	}, time.Time.Compare)
}

// RootExpires returns when the root metadata expires. Renew it well before:
// after that moment every client refuses the repository.
func (r *Repository) RootExpires() time.Time { return r.state.root.Signed.Expires }

// batch says what a release signs besides the timestamp.
type batch struct {
	targets  bool // needs snapshot too
	snapshot bool
	// roots are the root files that must accept the signatures; none means
	// the current one.
	roots []*rootFile
	// keys sign; none means the repository's own.
	keys []Key
	// beforeTimestamp and afterTimestamp run around the final write.
	beforeTimestamp, afterTimestamp func() error
}

// release signs the next version of the roles of the batch and writes them:
// targets, snapshot, and last timestamp. All signatures are made before the
// first byte is written.
func (r *Repository) release(ctx context.Context, now time.Time, b batch) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(err, fault.Cancelled, "publish: stopped before anything was signed")
	}
	if len(b.roots) == 0 {
		b.roots = []*rootFile{r.state.root}
	}
	if b.keys == nil {
		b.keys = r.keys
	}
	next := r.state
	var files []signedFile
	if b.targets {
		next.targets = r.nextTargets(now)
		f, err := signFile(next.targets, repo.Targets, next.targets.Signed.Version, b)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	if b.snapshot {
		meta := map[string]*metadata.MetaFiles{}
		if next.snapshot != nil {
			maps.Copy(meta, next.snapshot.Signed.Meta)
		}
		if b.targets {
			meta["targets.json"] = files[len(files)-1].meta()
		}
		next.snapshot = metadata.Snapshot(until(now, r.opts.Expiry.Snapshot))
		next.snapshot.Signed.Meta = meta
		next.snapshot.Signed.Version = r.nextVersion(repo.Snapshot)
		f, err := signFile(next.snapshot, repo.Snapshot, next.snapshot.Signed.Version, b)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	return r.commit(now, b, next, files)
}

// commit signs the timestamp over the newest snapshot, writes all files and
// makes next the current state.
func (r *Repository) commit(now time.Time, b batch, next state, files []signedFile) error {
	var meta *metadata.MetaFiles
	if b.snapshot {
		meta = files[len(files)-1].meta()
	} else {
		meta = next.timestamp.Signed.Meta["snapshot.json"]
	}
	version := int64(1)
	if r.state.timestamp != nil {
		version = r.state.timestamp.Signed.Version + 1
	}
	next.timestamp = metadata.Timestamp(until(now, r.opts.Expiry.Timestamp))
	next.timestamp.Signed.Version = version
	next.timestamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": meta}
	stamp, err := signFile(next.timestamp, repo.Timestamp, version, b)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := r.write(f.path, f.data); err != nil {
			return err
		}
	}
	if b.beforeTimestamp != nil {
		if err := b.beforeTimestamp(); err != nil {
			return err
		}
	}
	if err := r.write(stamp.path, stamp.data); err != nil {
		return err
	}
	r.state = next
	if b.targets {
		clear(r.staged)
	}
	if b.afterTimestamp != nil {
		return b.afterTimestamp()
	}
	return nil
}

// nextTargets is the current targets metadata with the staged changes.
func (r *Repository) nextTargets(now time.Time) *targetsFile {
	next := metadata.Targets(until(now, r.opts.Expiry.Targets))
	next.Signed.Version = r.nextVersion(repo.Targets)
	if r.state.targets != nil {
		maps.Copy(next.Signed.Targets, r.state.targets.Signed.Targets)
	}
	for name, file := range r.staged {
		if file == nil {
			delete(next.Signed.Targets, name)
		} else {
			next.Signed.Targets[name] = file
		}
	}
	return next
}

// nextVersion is the version after the current one, past any file that a
// crash between writing and the timestamp has left behind: a published name
// never changes its bytes, not even one that nothing referred to.
func (r *Repository) nextVersion(role repo.Role) int64 {
	n := int64(1)
	switch {
	case role == repo.Targets && r.state.targets != nil:
		n = r.state.targets.Signed.Version + 1
	case role == repo.Snapshot && r.state.snapshot != nil:
		n = r.state.snapshot.Signed.Version + 1
	}
	for {
		if _, err := os.Lstat(r.path(repo.MetadataPath(role, n))); err != nil {
			return n
		}
		n++
	}
}

// signedFile is metadata ready to be written.
type signedFile struct {
	path    string
	version int64
	data    []byte
}

// meta is what the next role up says about the file: version, length, hash.
func (f signedFile) meta() *metadata.MetaFiles {
	sum := sha256.Sum256(f.data)
	m := metadata.MetaFile(f.version)
	m.Length = int64(len(f.data))
	m.Hashes = metadata.Hashes{"sha256": sum[:]}
	return m
}

func signFile[T metadata.Roles](m *metadata.Metadata[T], role repo.Role, version int64, b batch) (signedFile, error) {
	data, err := sign(m, role, b.roots, b.keys)
	return signedFile{path: repo.MetadataPath(role, version), version: version, data: data}, err
}

// sign replaces the signatures of m by those of every key that one of the
// roots names for the role, and demands that each root's threshold is met.
func sign[T metadata.Roles](m *metadata.Metadata[T], role repo.Role, roots []*rootFile, keys []Key) ([]byte, error) {
	m.ClearSignatures()
	seen := map[string]bool{}
	for _, key := range keys {
		counts := slices.ContainsFunc(roots, func(root *rootFile) bool {
			return slices.Contains(root.Signed.Roles[string(role)].KeyIDs, key.id)
		})
		if !counts || seen[key.id] {
			continue
		}
		seen[key.id] = true
		signer, err := key.signer()
		if err != nil {
			return nil, err
		}
		if _, err := m.Sign(signer); err != nil {
			return nil, fault.Wrap(err, fault.Internal, "publish: the %s metadata can't be signed", role)
		}
	}
	for _, root := range roots {
		if err := root.VerifyDelegate(string(role), m); err != nil {
			return nil, fault.Wrap(err, fault.Denied, "publish: the keys at hand can't sign %s: root %d demands %d of %d keys",
				role, root.Signed.Version, root.Signed.Roles[string(role)].Threshold, len(root.Signed.Roles[string(role)].KeyIDs)).
				WithHint("Hand in more of the keys that belong to the role %s.", role)
		}
	}
	data, err := m.ToBytes(false)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "publish: the %s metadata can't be encoded", role)
	}
	return data, nil
}
