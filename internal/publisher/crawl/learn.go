package crawl

import (
	"context"
	"crypto/sha1" //nolint:gosec // the digest that vendors publish; the signature proves the file
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
)

// Learned are payloads that a source has fetched because their vendor names no
// SHA-256, by their digest. It is part of the source's fingerprint.
type Learned map[string]Lesson

// Lesson is what came of fetching one payload.
type Lesson struct {
	SHA256 string `json:"sha256,omitempty"`
	Size   int64  `json:"size,omitempty"` // bytes
	// Reason says why it could not be had; then it is tried again.
	Reason string `json:"reason,omitempty"`
	// Refused says why it is not fetched, although it is wanted.
	Refused string `json:"refused,omitempty"`
}

// Learn fetches the payloads that are not learned yet into dir and forgets
// those that are not wanted any more. What can't be had is remembered with the
// reason. The error is not nil when ctx ended or the disk is full.
func (l Learned) Learn(ctx context.Context, client Client, dir string, wanted []patch.Payload) error {
	names := map[string]bool{}
	for _, p := range wanted {
		if p.Digest == "" || names[p.Digest] {
			continue
		}
		names[p.Digest] = true
		if was := l[p.Digest]; was.SHA256 != "" {
			if _, err := os.Stat(BlobPath(dir, was.SHA256)); err == nil {
				continue
			}
		}
		got, err := learn(ctx, client, dir, p)
		switch {
		case err == nil:
			l[p.Digest] = got
		case ctx.Err() != nil || fault.Is(err, fault.Exhausted) || fault.Is(err, fault.Cancelled):
			return err
		default:
			l[p.Digest] = Lesson{Reason: fault.Public(err)}
		}
	}
	for digest := range l {
		if !names[digest] {
			delete(l, digest)
		}
	}
	return nil
}

// Blobs names what was learned.
func (l Learned) Blobs() []string {
	var out []string
	for _, x := range l {
		if x.SHA256 != "" {
			out = append(out, x.SHA256)
		}
	}
	return out
}

// Offers says whether a payload was learned; see Shelf.
func (l Learned) Offers(sum string) bool {
	for _, x := range l {
		if x.SHA256 == sum && sum != "" {
			return true
		}
	}
	return false
}

// Tell fills in what was learned of a patch's payloads. Of one whose payload is
// not known the evidence says how to change that: hint.
func (l Learned) Tell(p *patch.Patch, hint string) {
	for i := range p.Items {
		pay := &p.Items[i].Payload
		if pay.Digest == "" || pay.SHA256 != "" {
			continue
		}
		switch x := l[pay.Digest]; {
		case x.SHA256 != "":
			pay.SHA256, pay.Size = x.SHA256, x.Size
		case x.Refused != "":
			p.Evidence.Checks = []string{"nothing is installed from it: " + x.Refused}
		case x.Reason != "":
			p.Evidence.Checks = []string{"nothing is installed from it: its payload could not be fetched: " + x.Reason}
		default:
			algorithm, _, _ := strings.Cut(pay.Digest, ":")
			p.Evidence.Checks = []string{"nothing is installed from it: the vendor names " + strings.ToUpper(algorithm) + " alone, and the payload was not fetched; " +
				hint + ", or run 'fettle publisher prove " + string(p.ID) + "'"}
		}
	}
}

// learn fetches one payload, holds it against size and digest, and files it by
// its SHA-256.
func learn(ctx context.Context, client Client, dir string, p patch.Payload) (Lesson, error) {
	tmp, err := os.MkdirTemp(dir, "download-")
	if err != nil {
		return Lesson{}, fault.Wrap(err, fault.Unavailable, "crawl: no folder for a payload can be made")
	}
	defer os.RemoveAll(tmp)
	file := filepath.Join(tmp, "payload")
	request := fetch.Request{URL: p.URL, File: file, MaxSize: p.Size}
	if p.Size <= 0 {
		request.MaxSize = maxUnsized
	}
	if _, err := client.Get(ctx, request); err != nil {
		return Lesson{}, err
	}
	sum, size, err := weigh(file, p.Digest)
	switch {
	case err != nil:
		return Lesson{}, err
	case p.Size > 0 && size != p.Size:
		return Lesson{}, fault.New(fault.Untrusted, "crawl: it has %d bytes, the vendor names %d", size, p.Size)
	}
	if err := os.Rename(file, BlobPath(dir, sum)); err != nil {
		return Lesson{}, fault.Wrap(err, fault.Unavailable, "crawl: a payload can't be filed")
	}
	return Lesson{SHA256: sum, Size: size}, nil
}

// maxUnsized bounds a payload of which the vendor names no size, in bytes.
const maxUnsized = 4 << 30

// weigh holds a file against a digest such as "sha1:..." and gives its SHA-256.
func weigh(path, digest string) (sum string, size int64, err error) {
	algorithm, want, _ := strings.Cut(digest, ":")
	h := hasher(algorithm)
	if h == nil || len(want) != 2*h.Size() {
		return "", 0, fault.New(fault.Invalid, "crawl: the digest %q is of no known form", digest)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", 0, fault.Wrap(err, fault.Unavailable, "crawl: a payload can't be read")
	}
	defer f.Close()
	own := sha256.New()
	if size, err = io.Copy(io.MultiWriter(h, own), f); err != nil {
		return "", 0, fault.Wrap(err, fault.Unavailable, "crawl: a payload can't be read")
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return "", 0, fault.New(fault.Untrusted, "crawl: its %s is %s, the vendor names %s", strings.ToUpper(algorithm), got, want)
	}
	return hex.EncodeToString(own.Sum(nil)), size, nil
}

func hasher(algorithm string) hash.Hash {
	switch algorithm {
	case "sha1":
		return sha1.New() //nolint:gosec // see above
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}

// Again fetches payloads once more that were learned: what Shelf's Payloads
// does.
func Again(ctx context.Context, client Client, items []Wanted, dir string) (map[string]string, error) {
	out := map[string]string{}
	for _, w := range items {
		p := w.Item.Payload
		if _, done := out[p.SHA256]; done {
			continue
		}
		at := filepath.Join(dir, p.SHA256)
		if err := client.Download(ctx, fetch.Request{URL: p.URL, MaxSize: p.Size}, at, p.SHA256, p.Size); err != nil {
			return nil, err
		}
		out[p.SHA256] = at
	}
	return out, nil
}

// Stopped reports errors that say that somebody wants the source to stop.
func Stopped(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || fault.Is(err, fault.Cancelled)
}
