// Package epss reads FIRST's Exploit Prediction Scoring System: the daily CSV
// of every CVE's probability of exploitation within 30 days
// (https://www.first.org/epss/data_stats). The scores are free to use with
// attribution to FIRST.
package epss

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/enrich"
)

// DefaultURL is where the current scores are.
const DefaultURL = "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"

// maxFeed bounds the unpacked feed in bytes; it had about 10 MB in 2026.
const maxFeed = 512 << 20

// Apply is the enrich.Feed. It reads the CSV, gzipped or plain, in all its
// forms since 2021: with or without the comment line of model version and
// date, with or without the percentile. It streams; rows of CVEs that are not
// asked for cost no memory. Anything else is fault.Invalid, as is a feed that
// is cut off, because gzip's checksum then is missing.
func Apply(r io.Reader, to enrich.Vulnerabilities) (int, error) {
	plain, err := unpack(r)
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(io.LimitReader(plain, maxFeed))
	lines.Buffer(make([]byte, 0, 64<<10), 64<<10)
	id, score, rows := -1, -1, 0
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimRight(lines.Bytes(), "\r")
		switch {
		case len(line) == 0, line[0] == '#':
		case id < 0:
			if id, score = columns(string(line)); id < 0 || score < 0 {
				return 0, fault.New(fault.Invalid, "epss: line %d is not the header cve,epss", n)
			}
		default:
			if err := apply(line, id, score, to); err != nil {
				return 0, fault.Wrap(err, fault.Invalid, "epss: line %d", n)
			}
			rows++
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fault.Wrap(err, fault.Invalid, "epss: the scores can't be read to their end")
	}
	if rows == 0 {
		return 0, fault.New(fault.Invalid, "epss: the feed holds no scores")
	}
	return rows, nil
}

func unpack(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fault.Wrap(err, fault.Unavailable, "epss: the scores can't be read")
	}
	if !bytes.Equal(head, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "epss: the scores are no gzip file")
	}
	return z, nil
}

// columns finds the two columns by their names.
func columns(header string) (id, score int) {
	id, score = -1, -1
	for i, name := range strings.Split(strings.TrimPrefix(header, "\ufeff"), ",") {
		switch strings.TrimSpace(strings.ToLower(name)) {
		case "cve":
			id = i
		case "epss":
			score = i
		}
	}
	return id, score
}

func apply(line []byte, id, score int, to enrich.Vulnerabilities) error {
	cve, value := column(line, id), column(line, score)
	p, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !(p >= 0 && p <= 1) {
		return fault.New(fault.Invalid, "the score is no probability")
	}
	if !isCVE(cve) {
		return fault.New(fault.Invalid, "the first column is no CVE number")
	}
	if v := to[string(cve)]; v != nil {
		v.EPSS = p
	}
	return nil
}

// isCVE accepts CVE-, four digits, a dash and four or more digits; a regular
// expression would take half of the time of a feed.
func isCVE(id []byte) bool {
	if len(id) < 13 || string(id[:4]) != "CVE-" || id[8] != '-' {
		return false
	}
	for i, c := range id[4:] {
		if i != 4 && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func column(line []byte, n int) []byte {
	for ; n > 0; n-- {
		i := bytes.IndexByte(line, ',')
		if i < 0 {
			return nil
		}
		line = line[i+1:]
	}
	if i := bytes.IndexByte(line, ','); i >= 0 {
		return line[:i]
	}
	return line
}
