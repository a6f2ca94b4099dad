package publish

import (
	"context"
	"io/fs"
	"os"
	"time"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/blob/aside"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// damagedDir holds payloads whose bytes did not have their hash any more, until
// DropAside. Nothing refers to them.
const damagedDir = ".damaged"

// Aside is a payload that was set aside.
type Aside struct {
	SHA256 string
	At     time.Time
}

// CheckPayload reads a payload whole and says whether its bytes have its hash;
// bytes that the disk can't read any more don't. looked is the file that was
// read. It changes nothing and may be called at any time. Errors:
// fault.NotFound, fault.Cancelled, fault.Unavailable.
func (r *Repository) CheckPayload(ctx context.Context, hash string) (looked fs.FileInfo, whole bool, err error) {
	path, err := repo.PayloadPath(hash)
	if err != nil {
		return nil, false, err
	}
	f, err := os.Open(r.path(path))
	if err == nil {
		defer f.Close()
		looked, whole, err = aside.Whole(ctx, f, blob.Key(hash), nil)
	}
	if err != nil {
		return nil, false, fault.Wrap(err, codeFor(err), "publish: payload %s can't be read", hash)
	}
	return looked, whole, nil
}

// SetAside takes a payload that CheckPayload found damaged out of the store at
// the moment now, and keeps what is left of it. A file that has taken its place
// since it was looked at stays.
func (r *Repository) SetAside(hash string, looked fs.FileInfo, now time.Time) error {
	path, err := repo.PayloadPath(hash)
	if err != nil {
		return err
	}
	err = r.damaged(func(s aside.Shelf) error { return s.Put(path, blob.Key(hash), looked, now) })
	if err != nil {
		return fault.Wrap(err, codeFor(err), "publish: the damaged payload %s can't be set aside", hash)
	}
	return nil
}

// Aside lists what was set aside, by hash.
func (r *Repository) Aside() (out []Aside, err error) {
	err = r.damaged(func(s aside.Shelf) error {
		all, err := s.List()
		for _, x := range all {
			out = append(out, Aside{string(x.Key), x.Used})
		}
		return err
	})
	if err != nil {
		return nil, fault.Wrap(err, codeFor(err), "publish: the damaged payloads can't be listed")
	}
	return out, nil
}

// DropAside removes what was set aside before the moment.
func (r *Repository) DropAside(before time.Time) error {
	if err := r.damaged(func(s aside.Shelf) error { return s.Drop(before) }); err != nil {
		return fault.Wrap(err, codeFor(err), "publish: old damaged payloads can't be removed")
	}
	return nil
}

// damaged opens the shelf of damaged payloads for do.
func (r *Repository) damaged(do func(aside.Shelf) error) error {
	root, err := os.OpenRoot(r.path("."))
	if err != nil {
		return err
	}
	defer root.Close()
	return do(aside.Shelf{Root: root, Dir: damagedDir})
}
