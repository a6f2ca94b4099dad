package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

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
	if err != nil {
		return nil, false, fault.Wrap(err, codeFor(err), "publish: payload %s can't be read", hash)
	}
	defer f.Close()
	sum := sha256.New()
	looked, err = f.Stat()
	if err == nil {
		_, err = io.Copy(sum, reader{ctx, f})
	}
	switch {
	case errors.Is(err, syscall.EIO):
		return looked, false, nil
	case err != nil:
		return nil, false, fault.Wrap(err, codeFor(err), "publish: payload %s can't be read", hash)
	}
	return looked, hex.EncodeToString(sum.Sum(nil)) == hash, nil
}

// SetAside takes a payload that CheckPayload found damaged out of the store at
// the moment now, and keeps what is left of it. A file that has taken its place
// since it was looked at stays.
func (r *Repository) SetAside(hash string, looked fs.FileInfo, now time.Time) error {
	path, err := repo.PayloadPath(hash)
	if err != nil {
		return err
	}
	info, err := os.Lstat(r.path(path))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, looked) {
		return nil
	}
	aside := r.path(damagedDir + "/" + hash)
	if err == nil {
		err = r.move(r.path(path), aside)
	}
	if err == nil {
		err = os.Chtimes(aside, now, now)
	}
	if err != nil {
		return fault.Wrap(err, codeFor(err), "publish: the damaged payload %s can't be set aside", hash)
	}
	return nil
}

// Aside lists what was set aside, by hash.
func (r *Repository) Aside() ([]Aside, error) {
	entries, err := os.ReadDir(r.path(damagedDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, codeFor(err), "publish: the damaged payloads can't be listed")
	}
	var out []Aside
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && repo.CheckHash(e.Name()) == nil {
			out = append(out, Aside{e.Name(), info.ModTime().UTC()})
		}
	}
	return out, nil
}

// DropAside removes what was set aside before the moment.
func (r *Repository) DropAside(before time.Time) error {
	all, err := r.Aside()
	for _, a := range all {
		if !a.At.Before(before) {
			continue
		}
		if gone := os.Remove(r.path(damagedDir + "/" + a.SHA256)); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, fault.Wrap(gone, codeFor(gone), "publish: an old damaged payload can't be removed"))
		}
	}
	return err
}
