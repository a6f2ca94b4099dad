package winget

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/vercmp"
)

const (
	maxRecords = 2 << 30  // bytes of the file of records as it travels
	maxRecord  = 32 << 20 // bytes of one record in a tar file
	maxAll     = 16 << 30 // bytes of all records, unpacked
)

var cveID = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,}$`)

// record is what counts of a record of CVE JSON 5
// (https://github.com/CVEProject/cve-schema).
type record struct {
	Meta struct {
		ID        string `json:"cveId"`
		State     string `json:"state"`
		Assigner  string `json:"assignerShortName"`
		Published string `json:"datePublished"`
		Updated   string `json:"dateUpdated"`
	} `json:"cveMetadata"`
	Containers struct {
		CNA struct {
			Title        string                   `json:"title"`
			Descriptions []struct{ Value string } `json:"descriptions"`
			Affected     []affected               `json:"affected"`
			References   []struct{ URL string }   `json:"references"`
		} `json:"cna"`
	} `json:"containers"`
}

type affected struct {
	Vendor    string          `json:"vendor"`
	Product   string          `json:"product"`
	Platforms []string        `json:"platforms"`
	Versions  []affectedRange `json:"versions"`
}

type affectedRange struct {
	Version  string            `json:"version"`
	Status   string            `json:"status"`
	LessThan string            `json:"lessThan"`
	Changes  []json.RawMessage `json:"changes"`
}

// readRecords reads CVE records and returns what they say of the named
// products, and how many records there were. The records are JSON values one
// after the other or a tar file of *.json; plain, gzip or zstd. What is not that
// is fault.Invalid. One record at a time is in memory.
func readRecords(ctx context.Context, r io.Reader, names []cveName) ([]flaw, int, error) {
	plain, done, err := unpack(bufio.NewReader(r))
	if err != nil {
		return nil, 0, err
	}
	defer done()
	b := bufio.NewReaderSize(io.LimitReader(plain, maxAll), 64<<10)
	var out []flaw
	n := 0
	take := func(from io.Reader) error {
		dec := json.NewDecoder(from)
		for {
			var rec record
			if err := dec.Decode(&rec); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return fault.Wrap(err, fault.Invalid, "winget: CVE record %d is not JSON of the known form", n+1)
			}
			if err := ctx.Err(); err != nil {
				return fault.Wrap(err, fault.Cancelled, "winget: stopped")
			}
			n++
			out = append(out, rec.flaws(names)...)
		}
	}
	if head, _ := b.Peek(262); len(head) == 262 && bytes.Equal(head[257:262], []byte("ustar")) {
		err = eachFile(b, take)
	} else {
		err = take(b)
	}
	if err == nil && n == 0 {
		err = fault.New(fault.Invalid, "winget: the file holds no CVE record")
	}
	return out, n, err
}

func eachFile(r io.Reader, take func(io.Reader) error) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "winget: the archive of CVE records is damaged")
		}
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(h.Name, ".json") || h.Size > maxRecord {
			continue
		}
		if err := take(t); err != nil {
			return err
		}
	}
}

// flaws are what one record says of the named products: nothing unless it is
// published and its assigner, vendor and product are those of a row.
func (rec record) flaws(names []cveName) []flaw {
	if rec.Meta.State != "PUBLISHED" || !cveID.MatchString(rec.Meta.ID) {
		return nil
	}
	var out []flaw
	for _, name := range names {
		if name.CNA != rec.Meta.Assigner {
			continue
		}
		from, before, ok := rec.affects(name)
		if !ok {
			continue
		}
		out = append(out, rec.flaw(name, from, before))
	}
	return out
}

// affects gives the affected range of a product. It is exact or nothing: one
// range with a first fixed version that compares, for Windows or for all. A
// record with several ranges speaks of branches, and which of them a version
// belongs to can't be told from a number.
func (rec record) affects(name cveName) (from, before string, ok bool) {
	ranges := 0
	for _, a := range rec.Containers.CNA.Affected {
		if a.Vendor != name.Vendor || a.Product != name.Product || !forWindows(a.Platforms) {
			continue
		}
		for _, r := range a.Versions {
			if r.Status != "affected" {
				continue
			}
			ranges++
			if len(r.Changes) > 0 || vercmp.Valid(vercmp.Windows, r.LessThan) != nil {
				return "", "", false
			}
			before = r.LessThan
			switch {
			case open(r):
				from = ""
			case vercmp.Valid(vercmp.Windows, r.Version) == nil && vercmp.WindowsQuad(r.Version, r.LessThan) < 0:
				from = r.Version
			default:
				return "", "", false
			}
		}
	}
	return from, before, ranges == 1
}

// open reports a range without a beginning. Chrome repeats the fixed version.
func open(r affectedRange) bool {
	switch strings.ToLower(r.Version) {
	case "", "0", "*", "unspecified", "n/a", r.LessThan:
		return true
	}
	return false
}

func forWindows(platforms []string) bool {
	return len(platforms) == 0 || slices.ContainsFunc(platforms, func(p string) bool { return strings.Contains(strings.ToLower(p), "windows") })
}

func (rec record) flaw(name cveName, from, before string) flaw {
	f := flaw{
		CVE: rec.Meta.ID, Identifier: name.Identifier, CNA: name.CNA, Vendor: name.Vendor, Product: name.Product, From: from, Before: before,
		Title: short(rec.Containers.CNA.Title, 200), Published: day(rec.Meta.Published), Updated: day(rec.Meta.Updated),
	}
	if d := rec.Containers.CNA.Descriptions; len(d) > 0 {
		f.Text = short(d[0].Value, 1000)
	}
	for _, r := range rec.Containers.CNA.References[:min(5, len(rec.Containers.CNA.References))] {
		if strings.HasPrefix(r.URL, "https://") || strings.HasPrefix(r.URL, "http://") {
			f.References = append(f.References, short(r.URL, 500))
		}
	}
	return f
}

func short(s string, most int) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

func day(s string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC().Truncate(time.Second)
		}
	}
	return time.Time{}
}
