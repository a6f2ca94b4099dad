package publish

import (
	"context"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// Rotation is a change of the keys of one role.
type Rotation struct {
	// Role is the role whose keys change.
	Role repo.Role
	// Add are the keys that come in. Save them first: they exist nowhere else.
	Add []Key
	// Retire are the ids of the keys that go.
	Retire []string
	// Threshold is how many keys must sign from now on; 0 leaves it.
	Threshold int
	// Lost says that the retired keys are no longer at hand. Without it the
	// role is signed by the old and the new keys once, so that no reader sees
	// a gap; with it a reader may be refused for the moment between two
	// writes, and keeps its last good state. It does not apply to root.
	Lost bool
}

// RotateKey changes the keys of a role by a new version of root, signed by the
// thresholds of both the old and the new root keys, and signs the role again.
// rootKeys are the root keys that sign; for a rotation of root itself the keys
// that come in sign too. It returns fault.Invalid for a rotation that leaves
// too few keys, fault.Denied when signatures are lacking; nothing is written
// then.
func (r *Repository) RotateKey(ctx context.Context, now time.Time, rot Rotation, rootKeys []Key) error {
	if !rot.Role.Valid() {
		return fault.New(fault.Invalid, "publish: there is no role %q", rot.Role)
	}
	old := r.state.root
	next, err := r.nextRoot(now, rot)
	if err != nil {
		return err
	}
	signers := slices.Clone(rootKeys)
	if rot.Role == repo.Root {
		signers = append(signers, rot.Add...)
	}
	data, err := sign(next, repo.Root, []*rootFile{old, next}, signers)
	if err != nil {
		return err
	}
	install := func() error {
		if err := r.write(repo.MetadataPath(repo.Root, next.Signed.Version), data); err != nil {
			return err
		}
		r.state.root = next
		return nil
	}
	if rot.Role == repo.Root {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(err, fault.Cancelled, "publish: stopped before the new root was written")
		}
		return install()
	}
	return r.resign(ctx, now, rot, next, install)
}

// resign signs the rotated role again, and those that vouch for it, around the
// moment when the new root is installed.
func (r *Repository) resign(ctx context.Context, now time.Time, rot Rotation, next *rootFile, install func() error) error {
	keys := append(slices.Clone(r.keys), rot.Add...)
	b := batch{
		targets: rot.Role == repo.Targets, snapshot: rot.Role != repo.Timestamp,
		roots: []*rootFile{r.state.root, next}, keys: keys, afterTimestamp: install,
	}
	if rot.Lost {
		b.roots = []*rootFile{next}
		b.beforeTimestamp, b.afterTimestamp = install, func() error {
			r.state.root = next
			return nil
		}
	}
	staged := r.staged
	r.staged = nil // a rotation publishes nothing that waits for Publish
	err := r.release(ctx, now, b)
	r.staged = staged
	if err != nil {
		return err
	}
	r.keys = slices.DeleteFunc(keys, func(k Key) bool { return slices.Contains(rot.Retire, k.id) })
	return nil
}

// RenewRoot signs a new version of root with the same keys and a fresh expiry.
func (r *Repository) RenewRoot(ctx context.Context, now time.Time, rootKeys []Key) error {
	return r.RotateKey(ctx, now, Rotation{Role: repo.Root}, rootKeys)
}

func (r *Repository) nextRoot(now time.Time, rot Rotation) (*rootFile, error) {
	data, err := r.state.root.ToBytes(false)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "publish: the root can't be encoded")
	}
	next, err := metadata.Root().FromBytes(data)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "publish: the root can't be copied")
	}
	next.Signed.Version++
	next.Signed.Expires = until(now, r.opts.Expiry.Root)
	for _, id := range rot.Retire {
		if err := next.Signed.RevokeKey(id, string(rot.Role)); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "publish: %s is no key of role %s", short(id), rot.Role)
		}
	}
	for _, key := range rot.Add {
		if key.role != rot.Role {
			return nil, fault.New(fault.Invalid, "publish: the %s was made for another role than %s", key, rot.Role)
		}
		if err := next.Signed.AddKey(key.public, string(rot.Role)); err != nil {
			return nil, fault.Wrap(err, fault.Internal, "publish: the %s can't enter the root", key)
		}
	}
	role := next.Signed.Roles[string(rot.Role)]
	if rot.Threshold > 0 {
		role.Threshold = rot.Threshold
	}
	if len(role.KeyIDs) < role.Threshold {
		return nil, fault.New(fault.Invalid, "publish: role %s would have %d keys and need %d to sign", rot.Role, len(role.KeyIDs), role.Threshold)
	}
	return next, nil
}
