package crawl

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
)

// Client fetches politely: conditionally, resumably, with retries, a rate
// limit and a cap on size; *fetch.Client is it.
type Client interface {
	Get(ctx context.Context, r fetch.Request) (fetch.Response, error)
	Download(ctx context.Context, r fetch.Request, path, sha256 string, size int64) error
}

// Document is a source that is one file at one address, such as a tracker's
// export or a risk feed.
type Document struct {
	// ID is the source's name, URL its address (http, https or file).
	ID, URL string
	Client  Client
	// MaxBytes caps the file as it travels; 0 means 512 MiB.
	MaxBytes int64
	// Read turns the file into output. It refuses what is not its format, so
	// that a web page never replaces good data.
	Read func(r io.Reader) (Output, error)
}

// documentState is the fingerprint of a Document.
type documentState struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	// Seen is fetch's fingerprint of that version.
	Seen string `json:"seen,omitempty"`
}

// Name is the document's id.
func (d *Document) Name() string { return d.ID }

// Blobs names the file that the fingerprint stands for.
func (d *Document) Blobs(at Fingerprint) []string {
	var s documentState
	if at == nil || json.Unmarshal(at, &s) != nil {
		return nil
	}
	return []string{s.SHA256}
}

// Fetch gets the file when it has changed. A changed address starts afresh.
func (d *Document) Fetch(ctx context.Context, dir string, prev Fingerprint) (Fetched, error) {
	var old documentState
	if prev != nil && (json.Unmarshal(prev, &old) != nil || old.URL != d.URL) {
		old = documentState{}
	}
	if old.SHA256 != "" {
		if _, err := os.Stat(BlobPath(dir, old.SHA256)); err != nil {
			old = documentState{}
		}
	}
	limit := d.MaxBytes
	if limit <= 0 {
		limit = 512 << 20
	}
	got, err := d.Client.Get(ctx, fetch.Request{URL: d.URL, Fingerprint: old.Seen, MaxSize: limit, Expect: fetch.NotHTML})
	if err != nil {
		return Fetched{}, err // it names the address; the runner names the source
	}
	if got.NotModified {
		return Fetched{Fingerprint: prev}, nil
	}
	sum := sha256.Sum256(got.Body)
	next := documentState{URL: d.URL, Seen: got.Fingerprint, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(got.Body))}
	if err := atomicfile.Write(BlobPath(dir, next.SHA256), got.Body, 0o644); err != nil {
		return Fetched{}, err
	}
	fp, err := json.Marshal(next)
	if err != nil {
		return Fetched{}, fault.Wrap(err, fault.Internal, "crawl: the state of %s can't be encoded", d.ID)
	}
	return Fetched{Changed: next.SHA256 != old.SHA256, Fingerprint: fp}, nil
}

// Parse reads the file.
func (d *Document) Parse(_ context.Context, dir string, at Fingerprint) (Output, error) {
	f, err := d.Open(dir, at)
	if err != nil {
		return Output{}, err
	}
	defer f.Close()
	out, err := d.Read(f)
	if err != nil {
		return Output{}, fault.Wrap(err, fault.CodeOf(err), "crawl: what %s answered is refused", d.ID)
	}
	return out, nil
}

// Open opens the file that the fingerprint stands for. It returns
// fault.NotFound when there is none.
func (d *Document) Open(dir string, at Fingerprint) (io.ReadCloser, error) {
	var s documentState
	if at == nil || json.Unmarshal(at, &s) != nil || s.SHA256 == "" {
		return nil, fault.New(fault.NotFound, "crawl: there is no copy of %s yet", d.ID)
	}
	f, err := os.Open(BlobPath(dir, s.SHA256))
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "crawl: the copy of %s is gone", d.ID)
	}
	return f, nil
}

// Open opens the last good file of a source that is a Document.
func (r *Runner) Open(source string) (io.ReadCloser, error) {
	for _, s := range r.sources {
		if d, ok := s.(*Document); ok && d.ID == source {
			return d.Open(r.Dir(source), Fingerprint(r.state[source].Fingerprint))
		}
	}
	return nil, fault.New(fault.NotFound, "crawl: there is no document %q", source)
}

// Fingerprint gives what is remembered of a source; nil when nothing is.
func (r *Runner) Fingerprint(source string) Fingerprint {
	if m := r.state[source]; m != nil {
		return Fingerprint(m.Fingerprint)
	}
	return nil
}

// RefuseHTML looks at the first bytes of a document and refuses a web page:
// what captive portals, proxies and error pages send instead of data. It
// returns a reader that starts at the beginning again.
func RefuseHTML(r io.Reader) (io.Reader, error) {
	head := make([]byte, 512)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fault.Wrap(err, fault.Unavailable, "crawl: the document can't be read")
	}
	head = head[:n]
	text := bytes.ToLower(bytes.TrimLeft(head, "\ufeff \t\r\n"))
	if bytes.HasPrefix(text, []byte("<!doctype html")) || bytes.HasPrefix(text, []byte("<html")) {
		return nil, fault.New(fault.Invalid, "it is a web page, not data").
			WithHint("A proxy or captive portal may stand between this machine and the feed, or the feed has moved.")
	}
	return io.MultiReader(bytes.NewReader(head), r), nil
}
