package link

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/wire"
)

// MaxBlob bounds one payload in bytes.
const MaxBlob = 16 << 30

// reserve is the disk space in bytes that downloads leave free, so that the
// journal and the machine itself can still write.
const reserve = 64 << 20

// Damaged is the cause of an error about a payload whose bytes, as the server
// sent them, are not what the SHA-256 names. The server looks at its copy when
// it is told.
type Damaged struct{ SHA256 string }

// Error implements error.
func (d Damaged) Error() string { return "the server's bytes are not payload " + d.SHA256 }

// Store keeps payloads by hash in a folder of its own. A file appears there
// only when its bytes have the hash.
type Store struct {
	dir   string
	pause time.Duration // before a cut download goes on
}

// OpenStore returns the store in dir, which it makes when missing.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "link: can't make the folder %s", dir)
	}
	return &Store{dir: dir, pause: resumePause}, nil
}

// Path is where a payload lies once it is there.
func (s *Store) Path(sum string) string { return filepath.Join(s.dir, sum) }

// Fetch returns the path of the payload with this SHA-256, and downloads it
// first when it is not there, going on where an earlier download was cut. size
// is in bytes, -1 when unknown. progress, which may be nil, is told how many
// bytes have arrived. Errors: Untrusted for other bytes, Exhausted when the
// disk has no room, Unavailable or NotFound when the server does not give it.
func (s *Store) Fetch(ctx context.Context, c *Client, sum string, size int64, progress func(int64)) (string, error) {
	if err := repo.CheckHash(sum); err != nil {
		return "", err
	}
	path := s.Path(sum)
	if good, err := s.recheck(path, sum); good || err != nil {
		return path, err
	}
	if size > MaxBlob {
		return "", fault.New(fault.Exhausted, "link: payload %s has %d bytes, at most %d are taken", sum, size, int64(MaxBlob))
	}
	part, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", diskFault(err, sum)
	}
	err = s.fillOn(ctx, c, part, sum, size, progress)
	refused := fault.Is(err, fault.Untrusted) || err != nil && size < 0 // what is there of an unknown whole is of no use
	err = errors.Join(err, part.Close())                                // before it is removed: Windows removes no open file
	if refused {
		err = errors.Join(err, os.Remove(part.Name())) // nothing of it is used again
	}
	if err != nil {
		return "", unjoin(err)
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return "", diskFault(err, sum)
	}
	return path, atomicfile.SyncDir(s.dir)
}

// unjoin gives back the first error, which is the fault.
func unjoin(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	return err
}

// recheck hashes a payload that is there: a damaged disk or a meddler must not
// get its bytes to an installer. A bad one is removed, to be fetched again.
func (s *Store) recheck(path, sum string) (good bool, err error) {
	got, err := hashOf(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, diskFault(err, sum)
	case got == sum:
		return true, nil
	}
	if err := os.Remove(path); err != nil {
		return false, diskFault(err, sum)
	}
	return false, nil
}

func hashOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // read only
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// fill completes part and verifies it.
func (s *Store) fill(ctx context.Context, c *Client, part *os.File, sum string, size int64, progress func(int64)) error {
	h := sha256.New()
	have, err := io.Copy(h, part)
	if err != nil {
		return diskFault(err, sum)
	}
	// Without a size nothing tells whether the rest of a part is missing.
	if have > 0 && (size < 0 || have > size) {
		if have, err = restart(part, h); err != nil {
			return diskFault(err, sum)
		}
	}
	if err := s.room(sum, size-have); err != nil {
		return err
	}
	if have != size {
		if have, err = c.copyBlob(ctx, part, h, sum, have, size, progress); err != nil {
			return err
		}
	}
	switch {
	case size >= 0 && have < size:
		return fault.Wrap(Damaged{sum}, fault.Unavailable, "link: payload %s broke off after %d of %d bytes", sum, have, size)
	case hex.EncodeToString(h.Sum(nil)) != sum:
		return fault.Wrap(Damaged{sum}, fault.Untrusted, "link: payload %s is refused: the server's bytes have another hash", sum).
			WithHint("it was damaged or changed on its way; nothing of it is used. The server is told and looks at its own copy")
	}
	if err := part.Chmod(0o444); err != nil {
		return diskFault(err, sum)
	}
	if err := part.Sync(); err != nil {
		return diskFault(err, sum)
	}
	return nil
}

func restart(part *os.File, h hash.Hash) (int64, error) {
	h.Reset()
	if err := part.Truncate(0); err != nil {
		return 0, err
	}
	return part.Seek(0, io.SeekStart)
}

// copyBlob appends the server's bytes from have on.
func (c *Client) copyBlob(ctx context.Context, part *os.File, h hash.Hash, sum string, have, size int64, progress func(int64)) (int64, error) {
	body, from, err := c.openBlob(ctx, sum, have)
	if err != nil {
		return have, err
	}
	defer func() { _ = body.Close() }() // read to its end or given up
	if from != have {
		if have, err = restart(part, h); err != nil {
			return have, diskFault(err, sum)
		}
	}
	limit := size
	if limit < 0 {
		limit = min(MaxBlob, have+room(filepath.Dir(part.Name())))
	}
	n, err := io.Copy(io.MultiWriter(part, h, &counter{have: have, tell: progress}), io.LimitReader(body, limit-have+1))
	have += n
	var path *fs.PathError
	switch {
	case errors.As(err, &path):
		return have, diskFault(err, sum)
	case ctx.Err() != nil:
		return have, fault.Wrap(ctx.Err(), fault.Cancelled, "link: the download of %s was stopped", sum)
	case err != nil:
		return have, fault.Wrap(err, fault.Unavailable, "link: the download of %s broke off after %d bytes", sum, have)
	case have > limit && size < 0 && limit < MaxBlob:
		return have, noSpace(sum, filepath.Dir(part.Name()), room(filepath.Dir(part.Name())), limit)
	case have > limit:
		return have, fault.Wrap(Damaged{sum}, fault.Untrusted, "link: payload %s is refused: the server sends more than its %d bytes", sum, limit)
	}
	return have, nil
}

// openBlob asks for the bytes from have on; a server that does not know ranges
// sends all, and from says so.
func (c *Client) openBlob(ctx context.Context, sum string, have int64) (body io.ReadCloser, from int64, err error) {
	header := map[string]string{"Accept-Encoding": "identity"}
	if have > 0 {
		header["Range"] = "bytes=" + strconv.FormatInt(have, 10) + "-"
	}
	resp, err := c.do(ctx, http.MethodGet, wire.PathBlob+sum, nil, "", header)
	if err != nil {
		return nil, 0, err
	}
	if have > 0 && resp.StatusCode == http.StatusPartialContent &&
		strings.HasPrefix(resp.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(have, 10)+"-") {
		return resp.Body, have, nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, 0, errors.Join(fault.New(fault.Unavailable, "link: the server answers HTTP %d for payload %s", resp.StatusCode, sum), resp.Body.Close())
	}
	return resp.Body, 0, nil
}

// room checks that need bytes fit on the disk and leave the reserve.
func (s *Store) room(sum string, need int64) error {
	if left := room(s.dir); left < need {
		return noSpace(sum, s.dir, left, need)
	}
	return nil
}

// room is how many bytes may be written to the disk of a folder; more than any
// payload where the system does not tell: writing will.
func room(path string) int64 {
	free, _, err := atomicfile.Space(path)
	if err != nil {
		return MaxBlob
	}
	return max(free-reserve, 0)
}

func noSpace(sum, dir string, left, need int64) error {
	return fault.New(fault.Exhausted, "no space for payload %s: %d MiB may be written to the disk of %s, at least %d MiB are needed", sum, left>>20, dir, need>>20).
		WithHint("free space there; the task goes on by itself with its next attempt")
}

// Sweep removes every payload but those to keep, and parts of downloads with
// them.
func (s *Store) Sweep(keep map[string]bool) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "link: can't read the folder %s", s.dir)
	}
	var errs []error
	for _, e := range entries {
		if !keep[strings.TrimSuffix(e.Name(), ".part")] {
			errs = append(errs, os.Remove(filepath.Join(s.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func diskFault(err error, sum string) error {
	if atomicfile.IsFull(err) {
		return fault.Wrap(err, fault.Exhausted, "no space left on the disk for payload %s", sum).
			WithHint("free space; the task goes on by itself with its next attempt")
	}
	return fault.Wrap(err, fault.Unavailable, "link: can't store payload %s", sum)
}

type counter struct {
	have int64
	tell func(int64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.have += int64(len(p))
	if c.tell != nil {
		c.tell(c.have)
	}
	return len(p), nil
}
