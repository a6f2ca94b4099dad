package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/fault"
)

// Sink takes a download that can be interrupted. A file here and a partial blob are sinks.
type Sink interface {
	io.Writer
	// Size is the number of bytes that it has, from earlier runs too.
	Size() int64
	// Restart throws them away.
	Restart() error
}

// Download fetches a file of known hash and size to path (size -1: not known) and makes it visible there only when it
// is whole and right. Request.MaxSize bounds a file of unknown size. What came before an interruption stays in path+".part" and is used by the next call. One call at
// a time for each path.
func (c *Client) Download(ctx context.Context, r Request, path, sha256 string, size int64) error {
	if len(sha256) != 64 {
		return fault.New(fault.Invalid, "fetch: a download needs the file's SHA-256")
	}
	p, err := openPart(path+".part", sha256, size)
	if err != nil {
		return err
	}
	defer p.close()
	if size < 0 {
		p.limit = r.MaxSize
	}
	resumed := p.Size() > 0
	if err := c.Resume(ctx, r, p, size); err != nil {
		return err
	}
	err = p.digest.Check()
	if err != nil && resumed { // the part may be of another version of the file
		if err := p.Restart(); err != nil {
			return err
		}
		if err := c.Resume(ctx, r, p, size); err != nil {
			return err
		}
		err = p.digest.Check()
	}
	if err != nil {
		p.remove()
		return fault.Wrap(err, fault.Untrusted, "fetch: %s", redact(r.URL))
	}
	return p.publish(path)
}

// Resume fetches what the sink lacks, in as many requests as it takes. It ends with an error or with all the bytes that
// the server has; whether they are right is for the sink's owner to check. Size -1 means that it is not known.
func (c *Client) Resume(ctx context.Context, r Request, s Sink, size int64) error {
	u, err := parse(r.URL)
	if err != nil {
		return err
	}
	if size >= 0 && s.Size() > size {
		if err := s.Restart(); err != nil {
			return err
		}
	}
	if u.Scheme == "file" {
		return copyFile(r, u, s, size)
	}
	t := &transfer{c: c, r: r, u: u, sink: s, size: size}
	most := size
	if size < 0 {
		most = cmp.Or(r.MaxSize, c.cfg.MaxSize)
	}
	return c.patiently(ctx, u, max(most-s.Size(), 0), func(ctx context.Context) error {
		return c.retry(ctx, func() (bool, error) {
			before := s.Size()
			err := t.once(ctx)
			return s.Size() > before, err
		})
	})
}

// transfer is one Resume.
type transfer struct {
	c         *Client
	r         Request
	u         *url.URL
	sink      Sink
	size      int64
	validator string // of the version that the sink's bytes are of
	restarted bool
}

func (t *transfer) once(ctx context.Context) error {
	have := t.sink.Size()
	if have > 0 && have == t.size {
		return nil
	}
	header := http.Header{"Accept-Encoding": {"identity"}}
	if have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		if t.validator != "" {
			header.Set("If-Range", t.validator)
		}
	}
	resp, err := t.c.do(ctx, t.u, header, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var total int64
	switch resp.StatusCode {
	case http.StatusOK:
		if have > 0 {
			if err := t.sink.Restart(); err != nil {
				return err
			}
		}
		total = resp.ContentLength
	case http.StatusPartialContent:
		var start int64
		if start, total, err = contentRange(resp.Header.Get("Content-Range")); err != nil || start != have || have == 0 {
			return t.again(fault.New(fault.Invalid, "fetch: %s: the server sent the wrong part of the file (%s)", t.u.Redacted(), resp.Header.Get("Content-Range")))
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return t.again(fault.New(fault.Invalid, "fetch: %s: the server has fewer bytes than we do", t.u.Redacted()))
	default:
		return fault.New(fault.Invalid, "fetch: %s: the server answered %s to a plain request", t.u.Redacted(), resp.Status)
	}
	t.validator = validator(resp.Header)
	if t.size >= 0 && total >= 0 && total != t.size {
		return fault.New(fault.Untrusted, "fetch: %s has %d bytes where %d were announced", t.u.Redacted(), total, t.size)
	}
	return t.receive(resp.Body, total)
}

func (t *transfer) receive(body io.Reader, total int64) error {
	w := &counter{w: t.sink, done: t.sink.Size(), total: max(total, t.size), progress: t.r.Progress}
	if _, err := io.Copy(w, body); err != nil {
		return err
	}
	if have := t.sink.Size(); w.total >= 0 && have < w.total {
		return &temporary{err: fault.New(fault.Unavailable, "fetch: %s: the server stopped after %d of %d bytes", t.u.Redacted(), have, w.total)}
	}
	return nil
}

// again starts over from the first byte, once.
func (t *transfer) again(reason error) error {
	if t.restarted {
		return reason
	}
	t.restarted = true
	if err := t.sink.Restart(); err != nil {
		return err
	}
	return &temporary{err: reason}
}

// validator returns what If-Range may carry: a strong ETag, else the date (RFC 9110, section 13.1.5).
func validator(h http.Header) string {
	if e := h.Get("ETag"); strings.HasPrefix(e, `"`) {
		return e
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes 5-9/10"; the total is -1 for "*".
func contentRange(v string) (start, total int64, err error) {
	var end int64
	if _, err := fmt.Sscanf(v, "bytes %d-%d/%d", &start, &end, &total); err == nil {
		return start, total, nil
	}
	if _, err := fmt.Sscanf(v, "bytes %d-%d/*", &start, &end); err != nil {
		return 0, 0, err
	}
	return start, -1, nil
}

func copyFile(r Request, u *url.URL, s Sink, size int64) error {
	f, total, err := openFile(u)
	if err != nil {
		return err
	}
	defer f.Close()
	if size >= 0 && total != size {
		return fault.New(fault.Untrusted, "fetch: %s has %d bytes where %d were announced", u.Redacted(), total, size)
	}
	if s.Size() > total {
		if err := s.Restart(); err != nil {
			return err
		}
	}
	if _, err := f.Seek(s.Size(), io.SeekStart); err != nil {
		return fault.Wrap(err, fault.Unavailable, "fetch: can't read %s", u.Redacted())
	}
	_, err = io.Copy(&counter{w: s, done: s.Size(), total: total, progress: r.Progress}, f)
	return err
}

// part is the file that a download grows in.
type part struct {
	file   *os.File
	digest *authentic.Digest
	sum    string
	size   int64
	limit  int64 // bytes that are taken at most; 0 means all
	closed bool
}

// openPart opens or makes the file and takes the hash of what it has.
func openPart(path, sum string, size int64) (*part, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "fetch: can't write %s", path)
	}
	p := &part{file: f, sum: sum, size: size, digest: authentic.NewDigest(sum, size)}
	if _, err := io.Copy(p.digest, f); err != nil { // too long, or unreadable: start over
		if err := p.Restart(); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

// Write implements io.Writer.
func (p *part) Write(b []byte) (int, error) {
	if p.limit > 0 && p.Size()+int64(len(b)) > p.limit {
		return 0, fault.New(fault.Invalid, "fetch: %s is longer than the %d bytes allowed", filepath.Base(p.file.Name()), p.limit)
	}
	if _, err := p.digest.Write(b); err != nil {
		return 0, err
	}
	n, err := p.file.Write(b)
	if err != nil && atomicfile.IsFull(err) {
		return n, fault.Wrap(err, fault.Exhausted, "fetch: no space left to download %s", filepath.Base(p.file.Name())).WithHint("free space on that disk; the download goes on where it stopped")
	}
	if err != nil {
		return n, fault.Wrap(err, fault.Unavailable, "fetch: can't write %s", p.file.Name())
	}
	return n, nil
}

// Size implements Sink.
func (p *part) Size() int64 { return p.digest.Size() }

// Restart implements Sink.
func (p *part) Restart() error {
	p.digest = authentic.NewDigest(p.sum, p.size)
	_, seekErr := p.file.Seek(0, io.SeekStart)
	if err := errors.Join(seekErr, p.file.Truncate(0)); err != nil {
		return fault.Wrap(err, fault.Unavailable, "fetch: can't empty %s", p.file.Name())
	}
	return nil
}

func (p *part) publish(path string) error {
	err := p.file.Sync()
	p.closed = true
	if err = errors.Join(err, p.file.Close()); err == nil {
		err = os.Rename(path+".part", path)
	}
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "fetch: can't store %s", path)
	}
	return nil
}

func (p *part) remove() {
	p.close()
	_ = os.Remove(p.file.Name()) // a leftover is overwritten by the next download
}

func (p *part) close() {
	if !p.closed {
		p.closed = true
		_ = p.file.Close() // the bytes are checked again when they are used
	}
}

func redact(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Redacted()
	}
	return "the address"
}
