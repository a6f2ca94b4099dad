package publisher

import (
	"cmp"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/publisher/crawl/debian"
)

// osRelease is what os-release(5) says of a machine; version is the code name
// where there is no VERSION_ID, as agents name their platform.
type osRelease struct{ id, version, codename string }

func readOSRelease(path string) osRelease {
	data, err := os.ReadFile(path)
	if err != nil {
		return osRelease{}
	}
	var r osRelease
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.ToLower(strings.Trim(value, `"'`))
		switch key {
		case "ID":
			r.id = value
		case "VERSION_ID":
			r.version = value
		case "VERSION_CODENAME":
			r.codename = value
		}
	}
	r.version = cmp.Or(r.version, r.codename)
	return r
}

// machineRelease reads what this machine is: "debian-12" from ID and
// VERSION_ID of os-release(5).
func machineRelease(path string) string {
	r := readOSRelease(path)
	if r.id == "" || r.version == "" {
		return r.id
	}
	return r.id + "-" + r.version
}

// names knows releases from this machine's os-release, and from the tables of
// Debian's and Ubuntu's releases that the package distro-info-data keeps current
// (columns version, codename, series, created, release). A release that is not
// out yet has no number there: its machines go by the code name.
func (p *Publisher) names(osReleaseFile, distroInfo string) debian.Names {
	own := readOSRelease(osReleaseFile)
	return func(vendor, codename string) string {
		codename = strings.ToLower(codename)
		switch {
		case codename == "":
			return ""
		case vendor == own.id && codename == own.codename:
			return own.version
		case vendor != "debian" && vendor != "ubuntu":
			return ""
		}
		f, err := os.Open(filepath.Join(distroInfo, vendor+".csv"))
		if err != nil {
			return "" // it is optional, and a note tells what is not known
		}
		defer f.Close()
		return seriesVersion(f, codename, p.now())
	}
}

// maxSeries bounds the table in bytes; Debian's has 1 kB.
const maxSeries = 1 << 20

// seriesVersion looks a release that is out up in a table of distro-info-data,
// by its series: "12" for bookworm, "24.04" for noble.
func seriesVersion(table io.Reader, series string, now time.Time) string {
	r := csv.NewReader(io.LimitReader(table, maxSeries))
	r.FieldsPerRecord = -1
	for {
		row, err := r.Read()
		if err != nil {
			return ""
		}
		if len(row) < 5 || row[2] != series {
			continue
		}
		version, _, _ := strings.Cut(row[0], " ") // "24.04 LTS"
		if out, err := time.Parse(time.DateOnly, row[4]); err != nil || out.After(now) {
			return ""
		}
		return version
	}
}
