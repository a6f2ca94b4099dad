package debian

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/deb822"
	"github.com/fettlehq/fettle/internal/fault"
)

// Release is what a Release or InRelease file says, without its signature.
type Release struct {
	Origin, Label, Suite, Codename, Version string
	Date, ValidUntil                        time.Time // ValidUntil is zero when it never ends
	ByHash                                  bool
	NotAutomatic, ButAutomaticUpgrades      bool
	Architectures                           []string
	// NoArchAll says that binary-all indexes repeat what is in the others.
	NoArchAll bool
	// Files are the hashed files by their path within the suite.
	Files map[string]ReleaseFile
}

// ReleaseFile is one line of the SHA256 field.
type ReleaseFile struct {
	SHA256 string
	Size   int64
}

// maxReleaseFiles bounds the list of hashes; Debian's has about 5,000.
const maxReleaseFiles = 200_000

var releaseFields = []string{
	"Origin", "Label", "Suite", "Codename", "Version", "Date", "Valid-Until", "Acquire-By-Hash", "NotAutomatic",
	"ButAutomaticUpgrades", "Architectures", "No-Support-for-Architecture-all", "SHA256",
}

// ParseRelease reads the signed text of an InRelease, or a Release file. It
// returns fault.Invalid for text that is none, has no date, or no SHA-256 list:
// MD5 and SHA-1 count for nothing.
func ParseRelease(text []byte) (Release, error) {
	r := deb822.NewReader(bytes.NewReader(text), deb822.Options{Fields: releaseFields})
	if !r.Next() {
		if err := r.Err(); err != nil {
			return Release{}, fault.Wrap(err, fault.Invalid, "debian: the Release file can't be read")
		}
		return Release{}, fault.New(fault.Invalid, "debian: the Release file is empty")
	}
	get := func(i int) string { return string(r.At(i)) }
	rel := Release{
		Origin: get(0), Label: get(1), Suite: get(2), Codename: get(3), Version: get(4),
		ByHash: yes(get(7)), NotAutomatic: yes(get(8)), ButAutomaticUpgrades: yes(get(9)),
		Architectures: deb822.Words(r.At(10)), NoArchAll: strings.Contains(get(11), "Packages"),
	}
	var err error
	if rel.Date, err = releaseTime(get(5)); err != nil {
		return Release{}, fault.Wrap(err, fault.Invalid, "debian: the Release file has no usable Date")
	}
	if v := get(6); v != "" {
		if rel.ValidUntil, err = releaseTime(v); err != nil {
			return Release{}, fault.Wrap(err, fault.Invalid, "debian: the Release file's Valid-Until is no date")
		}
	}
	rel.Files, err = releaseFiles(r.At(12))
	return rel, err
}

func releaseFiles(list []byte) (map[string]ReleaseFile, error) {
	files := map[string]ReleaseFile{}
	for line := range deb822.Lines(list) {
		f := bytes.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || !isHash(string(f[0])) || len(files) >= maxReleaseFiles {
			return nil, fault.New(fault.Invalid, "debian: the Release file's list of hashes is malformed")
		}
		size, err := strconv.ParseInt(string(f[1]), 10, 64)
		if err != nil || size < 0 {
			return nil, fault.New(fault.Invalid, "debian: the Release file gives a size that is no number")
		}
		files[string(f[2])] = ReleaseFile{SHA256: string(f[0]), Size: size}
	}
	if len(files) == 0 {
		return nil, fault.New(fault.Invalid, "debian: the Release file has no SHA-256 hashes")
	}
	return files, nil
}

// releaseTime reads the date form of RFC 2822 that apt writes and reads; the
// zone is UTC by definition, however it is spelt.
func releaseTime(s string) (time.Time, error) {
	for _, layout := range []string{"Mon, 2 Jan 2006 15:04:05 MST", "Mon, 2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 Z"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "debian: %.60q is no date", s)
}

func yes(s string) bool {
	return strings.EqualFold(s, "yes") || s == "1" || strings.EqualFold(s, "true")
}

func isHash(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

var (
	leadingNumber = regexp.MustCompile(`^[0-9]+`)
	word          = regexp.MustCompile(`[^a-z0-9.]+`)
)

// vendorName makes an Origin fit for ids: lower case, other signs as dashes.
func vendorName(origin string) string {
	return strings.Trim(word.ReplaceAllString(strings.ToLower(origin), "-"), "-.")
}

// baseCodename is what the suites of a release share: "bookworm" of
// "bookworm-security".
func baseCodename(codename string) string {
	base, _, _ := strings.Cut(codename, "-")
	base, _, _ = strings.Cut(base, "/")
	return base
}

// releaseNumber is what a distribution's os-release calls VERSION_ID: the major
// number for Debian ("12" of "12.15"), year and month for Ubuntu ("24.04").
// Empty when the Release file gives no number, as for testing.
func (r Release) releaseNumber() string {
	if vendorName(r.Origin) == "ubuntu" {
		if len(r.Version) >= 5 {
			return r.Version[:5]
		}
		return r.Version
	}
	return leadingNumber.FindString(r.Version)
}

// IsSecurity says that this is the vendor's suite for security updates.
func (r Release) IsSecurity() bool {
	return strings.Contains(r.Suite, "-security") || strings.Contains(r.Codename, "-security") ||
		strings.HasSuffix(r.Suite, "/updates") || strings.Contains(r.Label, "-Security")
}
