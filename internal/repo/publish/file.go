package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// incomingDir holds files whose hash is not known yet. Web servers should not
// serve names that start with a dot; nothing refers to them.
const incomingDir = ".incoming"

// File is a file that is now in the repository.
type File struct {
	Path   string `json:"path"`   // relative to the repository
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`   // bytes
}

// Add copies src into the repository and stages it as the target called name
// for the next Publish, replacing a target of that name. custom is any JSON
// whose numbers are whole (TUF's canonical form knows no fractions), or nil;
// it is signed with the target. Nobody sees the file before Publish. It returns
// fault.Invalid for a bad name or custom, fault.Exhausted for a full disk.
func (r *Repository) Add(ctx context.Context, name string, src io.Reader, custom json.RawMessage) (File, error) {
	if err := repo.CheckName(name); err != nil {
		return File{}, err
	}
	target := metadata.TargetFile()
	if len(custom) > 0 {
		var compact bytes.Buffer
		if err := json.Compact(&compact, custom); err != nil {
			return File{}, fault.Wrap(err, fault.Invalid, "publish: the custom part of %s is no JSON", name)
		}
		raw := json.RawMessage(compact.Bytes())
		target.Custom = &raw
	}
	if _, err := cjson.EncodeCanonical(target); err != nil {
		return File{}, fault.Wrap(err, fault.Invalid, "publish: the custom part of %s can't be signed", name)
	}
	file, err := r.take(ctx, src, func(hash string) string { return repo.TargetPath(name, hash) })
	if err != nil {
		return File{}, err
	}
	sum, err := hex.DecodeString(file.SHA256)
	if err != nil {
		return File{}, fault.Wrap(err, fault.Internal, "publish: bad hash")
	}
	target.Length, target.Path = file.Size, name
	target.Hashes = metadata.Hashes{"sha256": sum}
	r.staged[name] = target
	return file, nil
}

// Remove stages that the next Publish no longer names the target. Its file
// stays until Prune. A target that does not exist gives fault.NotFound.
func (r *Repository) Remove(name string) error {
	_, published := r.state.targets.Signed.Targets[name]
	if staged, ok := r.staged[name]; ok && staged == nil || !ok && !published {
		return fault.New(fault.NotFound, "publish: there is no target %q", name)
	}
	r.staged[name] = nil
	return nil
}

// AddPayload copies src to payloads/sha256/aa/HASH. A payload is no TUF target:
// whoever names its hash and size in a signed target vouches for it. Equal
// bytes are stored once.
func (r *Repository) AddPayload(ctx context.Context, src io.Reader) (File, error) {
	return r.take(ctx, src, func(hash string) string {
		path, _ := repo.PayloadPath(hash) // the hash is our own
		return path
	})
}

// HasPayload returns the payload's size, or fault.NotFound. It does not read
// the bytes: clients do.
func (r *Repository) HasPayload(hash string) (int64, error) {
	path, err := repo.PayloadPath(hash)
	if err != nil {
		return 0, err
	}
	info, err := os.Lstat(r.path(path))
	if err != nil {
		return 0, fault.Wrap(err, codeFor(err), "publish: there is no payload %s", hash)
	}
	return info.Size(), nil
}

// RemovePayload deletes a payload; one that does not exist is no error. The
// caller knows that no catalog within the grace of Prune names it.
func (r *Repository) RemovePayload(hash string) error {
	path, err := repo.PayloadPath(hash)
	if err != nil {
		return err
	}
	if err := os.Remove(r.path(path)); err != nil && !os.IsNotExist(err) {
		return fault.Wrap(err, codeFor(err), "publish: payload %s can't be removed", hash)
	}
	return nil
}

// take streams src to a private place, hashes it on the way and moves it to
// where its hash puts it.
func (r *Repository) take(ctx context.Context, src io.Reader, place func(hash string) string) (File, error) {
	tmp := r.path(incomingDir + "/" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(r.incoming.Add(1), 10))
	if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
		return File{}, fault.Wrap(err, codeFor(err), "publish: the folder for incoming files can't be made")
	}
	w, err := atomicfile.Create(tmp, 0o644)
	if err != nil {
		return File{}, err
	}
	defer w.Abort()
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(w, hash), reader{ctx, src})
	if err != nil {
		return File{}, fault.Wrap(err, codeFor(err), "publish: an incoming file can't be copied")
	}
	if err := w.Commit(); err != nil {
		return File{}, err
	}
	file := File{SHA256: hex.EncodeToString(hash.Sum(nil)), Size: size}
	file.Path = place(file.SHA256)
	if err := r.move(tmp, r.path(file.Path)); err != nil {
		_ = os.Remove(tmp) // best effort: the move's error is what counts
		return File{}, fault.Wrap(err, codeFor(err), "publish: %s can't be put in place", file.Path)
	}
	return file, nil
}

func (r *Repository) move(from, to string) error {
	dir := filepath.Dir(to)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return atomicfile.SyncDir(dir)
}

// dirty reports whether the staged changes change anything.
func (r *Repository) dirty() bool {
	for name, next := range r.staged {
		now := r.state.targets.Signed.Targets[name]
		switch {
		case now == nil && next == nil:
		case now == nil || next == nil || !now.Equal(*next) || !sameCustom(now, next):
			return true
		}
	}
	return false
}

func sameCustom(a, b *metadata.TargetFiles) bool {
	if a.Custom == nil || b.Custom == nil {
		return a.Custom == b.Custom
	}
	return bytes.Equal(*a.Custom, *b.Custom)
}

// reader stops when its context does.
type reader struct {
	ctx context.Context
	src io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, fault.Wrap(err, fault.Cancelled, "publish: stopped")
	}
	return r.src.Read(p)
}
