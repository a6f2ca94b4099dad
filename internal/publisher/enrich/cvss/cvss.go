// Package cvss reads CVSS vectors out of CVE records: CVE JSON 5 (cvelistV5,
// CISA's vulnrichment), NVD's API 2.0 pages and feeds. The score is computed
// from the vector and never taken from the record, so that a record can't
// claim what its vector does not say.
package cvss

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/enrich"
)

const (
	maxRecord = 32 << 20 // bytes of one record in an archive
	maxFeed   = 16 << 30 // bytes of the feed, unpacked
	window    = 128 << 20
)

var cveID = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,}$`)

// Apply is the enrich.Feed. It reads one or many records: JSON values one
// after the other, or a tar file of *.json; plain, gzip or zstd. It counts
// records, those without a vector too. A feed without one record is
// fault.Invalid, and so is a damaged one.
func Apply(r io.Reader, to enrich.Vulnerabilities) (int, error) {
	plain, done, err := unpack(bufio.NewReader(r))
	if err != nil {
		return 0, err
	}
	defer done()
	b := bufio.NewReaderSize(io.LimitReader(plain, maxFeed), 64<<10)
	var n int
	if head, _ := b.Peek(262); len(head) == 262 && string(head[257:262]) == "ustar" {
		n, err = fromTar(b, to)
	} else {
		n, err = fromJSON(b, to)
	}
	if err == nil && n == 0 {
		err = fault.New(fault.Invalid, "cvss: the feed holds no CVE record")
	}
	return n, err
}

func unpack(b *bufio.Reader) (io.Reader, func(), error) {
	head, _ := b.Peek(4)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, fault.Wrap(err, fault.Invalid, "cvss: the feed is no gzip file")
		}
		return z, func() {}, nil
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window))
		if err != nil {
			return nil, nil, fault.Wrap(err, fault.Invalid, "cvss: the feed is no zstd file")
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}

func fromTar(r io.Reader, to enrich.Vulnerabilities) (int, error) {
	t := tar.NewReader(r)
	n := 0
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fault.Wrap(err, fault.Invalid, "cvss: the archive of records is damaged")
		}
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(h.Name, ".json") || h.Size > maxRecord {
			continue
		}
		k, err := fromJSON(t, to)
		if err != nil {
			return n, err
		}
		n += k
	}
}

// record is what counts of a CVE JSON 5 record, an NVD entry or an NVD page.
type record struct {
	Meta struct {
		ID string `json:"cveId"`
	} `json:"cveMetadata"`
	Containers struct {
		CNA container   `json:"cna"`
		ADP []container `json:"adp"`
	} `json:"containers"`
	NVD             *nvd `json:"cve"`
	Vulnerabilities []struct {
		NVD nvd `json:"cve"`
	} `json:"vulnerabilities"`
}

type container struct {
	Descriptions []description `json:"descriptions"`
	Metrics      []metric      `json:"metrics"`
}

type description struct {
	Lang  string `json:"lang"`
	Value string `json:"value"`
}

type metric struct {
	V40 *data `json:"cvssV4_0"`
	V31 *data `json:"cvssV3_1"`
	V30 *data `json:"cvssV3_0"`
	V2  *data `json:"cvssV2_0"`
}

type data struct {
	Vector string `json:"vectorString"`
}

type nvd struct {
	ID           string        `json:"id"`
	Descriptions []description `json:"descriptions"`
	Metrics      struct {
		V40 []nvdMetric `json:"cvssMetricV40"`
		V31 []nvdMetric `json:"cvssMetricV31"`
		V30 []nvdMetric `json:"cvssMetricV30"`
		V2  []nvdMetric `json:"cvssMetricV2"`
	} `json:"metrics"`
}

type nvdMetric struct {
	Type string `json:"type"` // Primary or Secondary
	Data data   `json:"cvssData"`
}

func fromJSON(r io.Reader, to enrich.Vulnerabilities) (int, error) {
	dec := json.NewDecoder(r)
	n := 0
	for {
		var rec record
		err := dec.Decode(&rec)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fault.Wrap(err, fault.Invalid, "cvss: record %d is not JSON of a known form", n+1)
		}
		n += rec.apply(to)
	}
}

// apply returns how many CVEs the record was about.
func (rec record) apply(to enrich.Vulnerabilities) int {
	if cveID.MatchString(rec.Meta.ID) {
		rec.applyCVE5(to[rec.Meta.ID])
		return 1
	}
	entries := rec.Vulnerabilities
	if rec.NVD != nil {
		entries = append(entries, struct {
			NVD nvd `json:"cve"`
		}{*rec.NVD})
	}
	n := 0
	for _, e := range entries {
		if cveID.MatchString(e.NVD.ID) {
			e.NVD.apply(to[e.NVD.ID])
			n++
		}
	}
	return n
}

func (rec record) applyCVE5(v *patch.Vulnerability) {
	if v == nil {
		return
	}
	describe(v, rec.Containers.CNA.Descriptions)
	var vectors []string
	for _, c := range append([]container{rec.Containers.CNA}, rec.Containers.ADP...) {
		for _, m := range c.Metrics {
			for _, d := range []*data{m.V40, m.V31, m.V30, m.V2} {
				if d != nil {
					vectors = append(vectors, d.Vector)
				}
			}
		}
	}
	use(v, vectors)
}

func (e nvd) apply(v *patch.Vulnerability) {
	if v == nil {
		return
	}
	describe(v, e.Descriptions)
	var primary, secondary []string
	for _, list := range [][]nvdMetric{e.Metrics.V40, e.Metrics.V31, e.Metrics.V30, e.Metrics.V2} {
		for _, m := range list {
			if m.Type == "Primary" {
				primary = append(primary, m.Data.Vector)
			} else {
				secondary = append(secondary, m.Data.Vector)
			}
		}
	}
	use(v, append(primary, secondary...))
}

func describe(v *patch.Vulnerability, all []description) {
	for _, d := range all {
		if v.Description == "" && strings.HasPrefix(d.Lang, "en") {
			v.Description = d.Value
		}
	}
}

// use takes the vector of the newest CVSS version; among equals the first
// stays, and what an earlier feed gave stays against one that is not newer.
func use(v *patch.Vulnerability, vectors []string) {
	best := generation(v.CVSSVector)
	for _, vector := range vectors {
		if g := generation(vector); g > best {
			if score, ok := Score(vector); ok {
				v.CVSS, v.CVSSVector, best = score, vector, g
			}
		}
	}
}

func generation(vector string) int {
	switch {
	case vector == "":
		return 0
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		return 40
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		return 31
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		return 30
	}
	return 20
}

// Score computes the base score of a CVSS 2.0, 3.0 or 3.1 vector, or the score
// of a 4.0 vector; false means that it is no valid vector.
func Score(vector string) (float64, bool) {
	switch generation(vector) {
	case 40:
		if c, err := gocvss40.ParseVector(vector); err == nil {
			return c.Score(), true
		}
	case 31:
		if c, err := gocvss31.ParseVector(vector); err == nil {
			return c.BaseScore(), true
		}
	case 30:
		if c, err := gocvss30.ParseVector(vector); err == nil {
			return c.BaseScore(), true
		}
	case 20:
		if c, err := gocvss20.ParseVector(vector); err == nil {
			return c.BaseScore(), true
		}
	}
	return 0, false
}
