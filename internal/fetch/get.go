package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Progress tells how many bytes have come of how many; total is -1 while it is not known. It is called often.
type Progress func(done, total int64)

// Request is what to fetch.
type Request struct {
	// URL is http, https or file.
	URL string
	// Fingerprint is that of the last answer that was used; "" asks for the document whatever it is.
	Fingerprint string
	// Accept is the media type wanted; "" any.
	Accept string
	// Expect refuses an answer of another form.
	Expect Expect
	// MaxSize bounds this answer to Get in bytes (0 means Config.MaxSize), and a
	// Download of unknown size (0 means that it is not bounded).
	MaxSize int64
	// File, when set, is the path of the file that Get writes the document to as it comes, in place of what was there:
	// nothing but its beginning is held in memory. After an error, and when the document has not changed, its content
	// is of no use.
	File string
	// Form, when set, is sent by POST: for servers that answer questions so. It must change nothing there, as it may be
	// sent more than once.
	Form url.Values
	// Progress may be nil.
	Progress Progress
}

// Response is what came.
type Response struct {
	// NotModified reports that the document is still the one of Request.Fingerprint; Body is nil then.
	NotModified bool
	// Fingerprint identifies this version of the document for the next Request. It is opaque; keep it as it is.
	Fingerprint string
	// Body is the document; nil when Request.File has it.
	Body []byte
}

// Get fetches a document into memory, or into Request.File.
func (c *Client) Get(ctx context.Context, r Request) (Response, error) {
	u, err := parse(r.URL)
	if err != nil {
		return Response{}, err
	}
	if r.MaxSize == 0 {
		r.MaxSize = c.cfg.MaxSize
	}
	if u.Scheme == "file" {
		return getFile(r, u)
	}
	var out Response
	err = c.patiently(ctx, u, r.MaxSize, func(ctx context.Context) error {
		return c.retry(ctx, func() (bool, error) {
			out, err = c.getOnce(ctx, r, u)
			return false, err
		})
	})
	return out, err
}

func (c *Client) getOnce(ctx context.Context, r Request, u *url.URL) (Response, error) {
	old, err := url.ParseQuery(r.Fingerprint)
	if err != nil {
		return Response{}, fault.New(fault.Invalid, "fetch: the fingerprint is damaged")
	}
	header := http.Header{}
	if r.Accept != "" {
		header.Set("Accept", r.Accept)
	}
	if v := old.Get("etag"); v != "" {
		header.Set("If-None-Match", v)
	}
	if v := old.Get("modified"); v != "" {
		header.Set("If-Modified-Since", v)
	}
	resp, err := c.do(ctx, u, header, r.Form)
	if err != nil {
		return Response{}, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotModified:
		return Response{NotModified: true, Fingerprint: r.Fingerprint}, nil
	case http.StatusOK:
	default:
		return Response{}, fault.New(fault.Invalid, "fetch: %s: the server answered %s to a plain request", u.Redacted(), resp.Status)
	}
	return r.take(resp.Body, resp.ContentLength, u, resp.Header)
}

// take reads the document to where it belongs and judges it.
func (r Request) take(body io.Reader, length int64, u *url.URL, h http.Header) (Response, error) {
	if r.File == "" {
		data, err := read(body, length, r, u)
		if err != nil {
			return Response{}, err
		}
		return judge(r, u, h, data, sha256.Sum256(data), data)
	}
	head, sum, err := r.save(body, length, u)
	if err != nil {
		return Response{}, err
	}
	return judge(r, u, h, head, sum, nil)
}

// beginning is how much of a file is looked at to tell its form.
const beginning = 4096

// save writes the document to r.File.
func (r Request) save(body io.Reader, length int64, u *url.URL) (head []byte, sum [sha256.Size]byte, err error) {
	if length > r.MaxSize {
		return nil, sum, tooLong(u, r.MaxSize)
	}
	f, err := os.Create(r.File)
	if err != nil {
		return nil, sum, fault.Wrap(err, fault.Unavailable, "fetch: the file %s can't be made", r.File)
	}
	defer f.Close() // a second time, after an error
	hash, start := sha256.New(), &first{limit: beginning}
	n, err := io.Copy(&counter{w: io.MultiWriter(f, hash, start), total: length, progress: r.Progress}, io.LimitReader(body, r.MaxSize+1))
	switch {
	case err != nil:
		return nil, sum, err
	case n > r.MaxSize:
		return nil, sum, tooLong(u, r.MaxSize)
	}
	if err := f.Close(); err != nil {
		return nil, sum, fault.Wrap(err, fault.Unavailable, "fetch: the file %s can't be written", r.File)
	}
	copy(sum[:], hash.Sum(nil))
	return start.head, sum, nil
}

// first keeps the beginning of what is written to it.
type first struct {
	head  []byte
	limit int
}

func (f *first) Write(b []byte) (int, error) {
	f.head = append(f.head, b[:min(len(b), f.limit-len(f.head))]...)
	return len(b), nil
}

// judge applies Expect and makes the fingerprint: the server's validators, and the content's hash for servers that
// have none or change them for nothing.
func judge(r Request, u *url.URL, h http.Header, head []byte, sum [sha256.Size]byte, data []byte) (Response, error) {
	if err := r.Expect.check(h.Get("Content-Type"), head); err != nil {
		return Response{}, fault.Wrap(err, fault.Invalid, "fetch: %s", u.Redacted())
	}
	v := url.Values{"sha256": {hex.EncodeToString(sum[:])}}
	if e := h.Get("ETag"); e != "" {
		v.Set("etag", e)
	}
	if m := h.Get("Last-Modified"); settled(m, h.Get("Date")) {
		v.Set("modified", m)
	}
	out := Response{Fingerprint: v.Encode(), Body: data}
	if old, err := url.ParseQuery(r.Fingerprint); err == nil && old.Get("sha256") == v.Get("sha256") {
		out.NotModified, out.Body = true, nil
	}
	return out, nil
}

// settled reports whether a modification date may stand for the content: it has whole seconds, so a file may change once
// more within the second in which it was fetched (RFC 9110, section 8.8.2.2).
func settled(modified, date string) bool {
	m, err := http.ParseTime(modified)
	if err != nil {
		return false
	}
	d, err := http.ParseTime(date)
	return err != nil || d.Sub(m) >= time.Second
}

func read(body io.Reader, length int64, r Request, u *url.URL) ([]byte, error) {
	if length > r.MaxSize {
		return nil, tooLong(u, r.MaxSize)
	}
	var buf bytes.Buffer
	if length > 0 {
		buf.Grow(int(min(length, 64<<20)) + bytes.MinRead)
	}
	w := &counter{w: &buf, total: length, progress: r.Progress}
	if _, err := io.Copy(w, io.LimitReader(body, r.MaxSize+1)); err != nil {
		return nil, err
	}
	if int64(buf.Len()) > r.MaxSize {
		return nil, tooLong(u, r.MaxSize)
	}
	return buf.Bytes(), nil
}

func tooLong(u *url.URL, limit int64) error {
	return fault.New(fault.Invalid, "fetch: %s is longer than the %d bytes allowed", u.Redacted(), limit)
}

// getFile is Get for file:// addresses. It reads only plain files.
func getFile(r Request, u *url.URL) (Response, error) {
	f, size, err := openFile(u)
	if err != nil {
		return Response{}, err
	}
	defer f.Close()
	return r.take(f, size, u, http.Header{})
}

func openFile(u *url.URL) (*os.File, int64, error) {
	path := filepath.FromSlash(u.Path)
	if runtime.GOOS == "windows" {
		path = strings.TrimPrefix(path, `\`) // file:///C:/x
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fault.Wrap(err, fault.NotFound, "fetch: there is no file %s", path)
	}
	if err != nil {
		return nil, 0, fault.Wrap(err, fault.Unavailable, "fetch: can't open %s", path)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = f.Close() // nothing was written
		return nil, 0, fault.Wrap(err, fault.Invalid, "fetch: %s is not a plain file", path)
	}
	return f, info.Size(), nil
}

func parse(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fault.New(fault.Invalid, "fetch: that is not a URL")
	}
	switch {
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return u, nil
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && filepath.IsAbs(filepath.FromSlash(u.Path)) || u.Scheme == "file" && runtime.GOOS == "windows":
		return u, nil
	}
	return nil, fault.New(fault.Invalid, "fetch: %s is not an http, https or file:///path address", u.Redacted())
}

// counter reports progress while it writes on.
type counter struct {
	w           io.Writer
	done, total int64
	progress    Progress
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.done += int64(n)
	if c.progress != nil {
		c.progress(c.done, c.total)
	}
	return n, err
}
