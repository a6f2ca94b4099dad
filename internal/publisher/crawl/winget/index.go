package winget

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

const (
	maxIndex   = 256 << 20 // bytes of the index as it travels
	maxListing = 1 << 30   // bytes of it, unpacked
	maxPerID   = 500       // versions of one package that are remembered
)

var localeTag = regexp.MustCompile(`^[A-Za-z0-9-]{2,35}$`)

// Indexed is one row of an index.
type Indexed struct {
	Identifier string `json:"PackageId"`
	Version    string `json:"Version"`
	Name       string `json:"Name"`
}

// index reads the index, where one is configured, and remembers the versions of
// followed packages.
func (f *fetching) index(ctx context.Context) error {
	at := f.s.cfg.Index
	if at == "" {
		return nil
	}
	f.say("reading the index")
	path := crawl.BlobPath(f.dir, ".incoming-index")
	defer func() { _ = os.Remove(path) }() // the next run would write over it
	got, err := f.s.client.Get(ctx, fetch.Request{URL: at, Fingerprint: f.st.Seen[at], MaxSize: maxIndex, Expect: fetch.NotHTML, File: path})
	if err != nil || got.NotModified {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "winget: the fetched index can't be read")
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "winget: the fetched index can't be read")
	}
	newest := map[string][]string{}
	n, err := ReadIndex(ctx, file, info.Size(), func(x Indexed) {
		if f.s.follow.wants(x.Identifier) && len(newest[x.Identifier]) < maxPerID {
			newest[x.Identifier] = append(newest[x.Identifier], x.Version)
		}
	})
	if err != nil {
		return err
	}
	f.st.Seen[at], f.st.Newest, f.st.Indexed = got.Fingerprint, newest, n
	return nil
}

// ReadIndex calls yield with every package version of an index and returns
// their number. It knows the JSON and CSV of winget-pkgs-index, winget's own
// index.db (SQLite, schemas 1 and 2) and the source.msix that holds it, and each
// of them packed with zstd or gzip. Rows are read one by one from the file, of
// which little is in memory at any time. What is no index, or has no row, is
// fault.Invalid.
func ReadIndex(ctx context.Context, r io.ReaderAt, size int64, yield func(Indexed)) (int, error) {
	n := 0
	count := func(x Indexed) error {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(err, fault.Cancelled, "winget: stopped")
		}
		if x.Identifier == "" || x.Version == "" {
			return notIndex(nil, "row %d names no package or no version", n+1)
		}
		n++
		yield(x)
		return nil
	}
	head := make([]byte, len(sqliteMagic))
	k, _ := r.ReadAt(head, 0) // a short file is no database
	all := io.NewSectionReader(r, 0, size)
	var err error
	switch head = head[:k]; {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		err = fromPackage(ctx, r, size, count)
	case string(head) == sqliteMagic:
		err = fromDatabase(ctx, all, count)
	default:
		err = fromText(ctx, all, count)
	}
	if err == nil && n == 0 {
		err = notIndex(nil, "no package is in it")
	}
	return n, err
}

// fromText reads JSON or CSV, or what is packed.
func fromText(ctx context.Context, r io.Reader, yield func(Indexed) error) error {
	plain, done, err := unpack(bufio.NewReader(r))
	if err != nil {
		return err
	}
	defer done()
	b := bufio.NewReaderSize(io.LimitReader(plain, maxListing), 64<<10)
	if head, _ := b.Peek(3); bytes.Equal(head, []byte("\ufeff")) {
		_, _ = b.Discard(3) // it was just seen
	}
	head, _ := b.Peek(len(sqliteMagic))
	switch {
	case string(head) == sqliteMagic:
		return fromDatabase(ctx, b, yield)
	case len(head) > 0 && head[0] == '[':
		return fromJSON(b, yield)
	}
	return fromCSV(b, yield)
}

func unpack(b *bufio.Reader) (io.Reader, func(), error) {
	head, _ := b.Peek(4)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, fault.Wrap(err, fault.Invalid, "winget: the file is no gzip file")
		}
		return z, func() {}, nil
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, fault.Wrap(err, fault.Invalid, "winget: the file is no zstd file")
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}

func fromJSON(r io.Reader, yield func(Indexed) error) error {
	dec := json.NewDecoder(r)
	if _, err := dec.Token(); err != nil {
		return notIndex(err, "it is no JSON")
	}
	for dec.More() {
		var x Indexed
		if err := dec.Decode(&x); err != nil {
			return notIndex(err, "it is cut off or not a list of packages")
		}
		if err := yield(x); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return notIndex(err, "it is cut off")
	}
	return nil
}

// fromCSV reads rows of which the head names the columns.
func fromCSV(r io.Reader, yield func(Indexed) error) error {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return notIndex(err, "it is neither JSON nor CSV")
	}
	column := map[string]int{}
	for i, name := range head {
		column[strings.ToLower(name)] = i
	}
	id, hasID := column[strings.ToLower("PackageId")]
	version, hasVersion := column["version"]
	if !hasID || !hasVersion {
		return notIndex(nil, "it has no columns PackageId and Version")
	}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return notIndex(err, "a row is damaged")
		}
		if err := yield(Indexed{Identifier: strings.Clone(row[id]), Version: strings.Clone(row[version])}); err != nil {
			return err
		}
	}
}

func notIndex(cause error, format string, args ...any) error {
	return fault.Wrap(cause, fault.Invalid, "winget: the index is refused: "+format, args...)
}
