package client

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// Transport carries the plain files of a repository. It is not trusted.
type Transport interface {
	// Get opens the file at path, which is relative to the repository and has
	// forward slashes. size is in bytes, -1 when unknown. A file that does
	// not exist gives fault.NotFound, a peer that can't be reached
	// fault.Unavailable.
	Get(ctx context.Context, path string) (body io.ReadCloser, size int64, err error)
}

// Resumer is a Transport that can continue a file. It is optional.
type Resumer interface {
	// GetFrom is Get from the given byte on; size counts the bytes that
	// follow. A transport that can't for this file gives fault.Unsupported.
	GetFrom(ctx context.Context, path string, offset int64) (body io.ReadCloser, size int64, err error)
}

// Dir is a repository in a folder: a disk, a share, a memory stick.
type Dir struct{ root *os.Root }

// OpenDir opens a folder as a transport; symbolic links can't lead out of it.
// A folder that does not exist gives fault.NotFound.
func OpenDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fault.Wrap(err, codeFor(err), "client: the repository folder %s can't be opened", path)
	}
	return &Dir{root: root}, nil
}

// Close closes the folder.
func (d *Dir) Close() error { return d.root.Close() }

// Get implements Transport.
func (d *Dir) Get(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	return d.GetFrom(ctx, path, 0)
}

// GetFrom implements Resumer.
func (d *Dir) GetFrom(_ context.Context, path string, offset int64) (io.ReadCloser, int64, error) {
	f, err := d.root.Open(filepath.FromSlash(path))
	if err != nil {
		return nil, 0, fault.Wrap(err, codeFor(err), "client: %s can't be opened", path)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault.New(fault.Unavailable, "client: %s is no plain file", path)
	}
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(fault.Wrap(err, codeFor(err), "client: %s can't be read", path), f.Close())
	}
	return f, max(info.Size()-offset, 0), nil
}

// HTTP is a repository behind any web server.
type HTTP struct {
	base   *url.URL
	client *http.Client
}

// NewHTTP returns a transport for the repository whose metadata folder is at
// base/metadata. The client brings proxies, TLS and time limits for connecting;
// its Timeout must be 0 or fit the largest payload. A base that is no http or
// https URL gives fault.Invalid.
func NewHTTP(base string, client *http.Client) (*HTTP, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.Wrap(err, fault.Invalid, "client: %q is no http or https address of a repository", base)
	}
	u.RawQuery, u.Fragment = "", ""
	return &HTTP{base: u, client: client}, nil
}

// Get implements Transport.
func (h *HTTP) Get(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	return h.GetFrom(ctx, path, 0)
}

// GetFrom implements Resumer with a Range request.
func (h *HTTP) GetFrom(ctx context.Context, path string, offset int64) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, 0, fault.Wrap(err, fault.Invalid, "client: %s makes no address", path)
	}
	// Lengths and hashes are of the bytes as stored.
	req.Header.Set("Accept-Encoding", "identity")
	want := http.StatusOK
	if offset > 0 {
		want = http.StatusPartialContent
		req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, 0, fault.Wrap(err, fault.Unavailable, "client: the repository at %s can't be reached", h.base.Host)
	}
	if resp.StatusCode == want && (offset == 0 || startsAt(resp, offset)) {
		return resp.Body, resp.ContentLength, nil
	}
	return nil, 0, errors.Join(h.refusal(resp.StatusCode, path, offset), resp.Body.Close())
}

func (h *HTTP) refusal(status int, path string, offset int64) error {
	switch {
	case status == http.StatusNotFound || status == http.StatusGone:
		return fault.New(fault.NotFound, "client: %s has no %s", h.base.Host, path)
	case offset > 0 && status < 500:
		return fault.New(fault.Unsupported, "client: %s can't continue %s in the middle", h.base.Host, path)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fault.New(fault.Denied, "client: %s refuses %s (HTTP %d)", h.base.Host, path, status)
	}
	return fault.New(fault.Unavailable, "client: %s answers HTTP %d for %s", h.base.Host, status, path)
}

// startsAt reports whether a partial answer begins where it was asked to.
func startsAt(resp *http.Response, offset int64) bool {
	return strings.HasPrefix(resp.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(offset, 10)+"-")
}

// codeFor gives the code of an operating system's error.
func codeFor(err error) fault.Code {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.NotFound
	case errors.Is(err, fs.ErrPermission):
		return fault.Denied
	case errors.Is(err, context.Canceled):
		return fault.Cancelled
	}
	if code := fault.CodeOf(err); code != fault.Internal {
		return code
	}
	return fault.Unavailable
}
