package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// partSuffix ends the name of a download that is not complete yet.
const partSuffix = ".part"

// want is what the bytes must turn out to be.
type want struct {
	what   string // for messages: "target x", "payload y"
	path   string // in the repository
	sha256 string // lower-case hex
	length int64
}

// Download streams a target to w and verifies length and SHA-256 on the way:
// w has seen unverified bytes until Download returns nil, and what it holds
// after an error is worthless. It never keeps more than a buffer in memory.
// fault.Untrusted means other bytes than were signed, fault.Unavailable a
// transfer that failed or dripped.
func (c *Client) Download(ctx context.Context, name string, w io.Writer) error {
	t, err := c.want(name)
	if err != nil {
		return err
	}
	return c.copy(ctx, t, 0, sha256.New(), w)
}

// DownloadFile fetches a target to a file, which appears there complete and
// verified or not at all. A transfer that was cut leaves PATH.part, from which
// the next call continues when the transport is a Resumer.
func (c *Client) DownloadFile(ctx context.Context, name, path string) error {
	t, err := c.want(name)
	if err != nil {
		return err
	}
	return c.copyFile(ctx, t, path)
}

// Payload streams a payload to w like Download. Hash and size come from a
// signed target.
func (c *Client) Payload(ctx context.Context, sha256hex string, size int64, w io.Writer) error {
	t, err := wantPayload(sha256hex, size)
	if err != nil {
		return err
	}
	return c.copy(ctx, t, 0, sha256.New(), w)
}

// PayloadFile fetches a payload to a file like DownloadFile.
func (c *Client) PayloadFile(ctx context.Context, sha256hex string, size int64, path string) error {
	t, err := wantPayload(sha256hex, size)
	if err != nil {
		return err
	}
	return c.copyFile(ctx, t, path)
}

func wantPayload(sha256hex string, size int64) (want, error) {
	path, err := repo.PayloadPath(sha256hex)
	if err != nil {
		return want{}, err
	}
	return want{what: "payload " + sha256hex, path: path, sha256: sha256hex, length: size}, nil
}

func (c *Client) want(name string) (want, error) {
	t, err := c.Target(name)
	if err != nil {
		return want{}, err
	}
	return t.want(), nil
}

func (t Target) want() want {
	sum := t.Hashes["sha256"]
	return want{what: "target " + t.Name, path: repo.TargetPath(t.Name, sum), sha256: sum, length: t.Length}
}

// copy transfers the bytes from offset on; h has seen those before it.
func (c *Client) copy(ctx context.Context, t want, offset int64, h hash.Hash, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var count atomic.Int64
	go pace(ctx, cancel, &count, c.opts.Limits.Stall, c.opts.Limits.StallBytes)
	body, size, err := c.open(ctx, t, offset)
	if err != nil {
		return err
	}
	if size >= 0 && offset+size != t.length {
		return errors.Join(fault.New(fault.Untrusted, "client: %s is refused: it has %d bytes where %d are signed for", t.what, offset+size, t.length), body.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = body.Close() }) // frees a read that ignores ctx
	n, err := io.Copy(io.MultiWriter(h, w), io.TeeReader(io.LimitReader(body, t.length-offset+1), &counter{&count}))
	if stop() {
		err = errors.Join(err, body.Close())
	}
	if cause := context.Cause(ctx); cause != nil {
		return fault.Wrap(cause, codeFor(cause), "client: %s was not completed", t.what)
	}
	return t.check(offset+n, h, err)
}

// check judges a transfer that has ended.
func (t want) check(n int64, h hash.Hash, err error) error {
	switch {
	case err != nil:
		return fault.Wrap(err, codeFor(err), "client: %s can't be copied", t.what)
	case n > t.length:
		return fault.New(fault.Untrusted, "client: %s is refused: it does not end after the %d bytes that are signed for", t.what, t.length)
	case n < t.length:
		return fault.New(fault.Unavailable, "client: the transfer of %s was cut short: %d of %d bytes came", t.what, n, t.length)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != t.sha256 {
		return fault.New(fault.Untrusted, "client: %s is refused: its SHA-256 is %s where %s is signed for", t.what, got, t.sha256).
			WithHint("It was damaged or changed on its way. Nothing of it is used.")
	}
	return nil
}

func (c *Client) open(ctx context.Context, t want, offset int64) (io.ReadCloser, int64, error) {
	if offset > 0 {
		r, ok := c.opts.Transport.(Resumer)
		if !ok {
			return nil, 0, fault.New(fault.Unsupported, "client: this transport can't continue a file")
		}
		return r.GetFrom(ctx, t.path, offset)
	}
	body, size, err := c.opts.Transport.Get(ctx, t.path)
	if err != nil {
		return nil, 0, fault.Wrap(err, codeFor(err), "client: %s can't be fetched", t.what)
	}
	return body, size, nil
}

// copyFile transfers to path + ".part" and renames.
func (c *Client) copyFile(ctx context.Context, t want, path string) error {
	part := path + partSuffix
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fault.Wrap(err, codeFor(err), "client: %s can't be stored", t.what)
	}
	err = c.fill(ctx, t, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		if code := fault.CodeOf(err); code == fault.Untrusted {
			_ = os.Remove(part) // worthless; the next attempt truncates it anyway
		}
		if atomicfile.IsFull(err) {
			return fault.Wrap(err, fault.Exhausted, "client: the disk is full; %s is not complete", t.what)
		}
		return fault.Wrap(err, codeFor(err), "client: %s was not stored", t.what)
	}
	if err := os.Rename(part, path); err != nil {
		return fault.Wrap(err, codeFor(err), "client: %s can't be put in place", t.what)
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// fill completes the part file from where it ends, or from the start when that
// can't be done.
func (c *Client) fill(ctx context.Context, t want, f *os.File) error {
	h := sha256.New()
	offset, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if offset == t.length && hex.EncodeToString(h.Sum(nil)) == t.sha256 {
		return nil
	}
	if offset > 0 && offset < t.length {
		err := c.copy(ctx, t, offset, h, f)
		if !fault.Is(err, fault.Unsupported) && !fault.Is(err, fault.Untrusted) {
			return err
		}
	}
	// Nothing to continue, or what was there belongs to something else.
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return c.copy(ctx, t, 0, sha256.New(), f)
}

// counter counts the bytes that pass.
type counter struct{ n *atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
