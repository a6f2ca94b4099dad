package debian

import (
	"io"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/deb822"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// Package is one stanza of a Packages index.
type Package struct {
	Name, Arch, Version   string
	Source, SourceVersion string
	Filename, SHA256      string
	Size                  int64
	Phased                int // percent of machines; 0 means all
}

var packageFields = []string{
	"Package", "Architecture", "Version", "Source", "Filename", "SHA256", "Size", "Phased-Update-Percentage",
}

// ParsePackages calls yield for each stanza of an uncompressed Packages index
// and reject for each that names no usable payload. It streams: memory does
// not grow with the index. Bytes that are no index give fault.Invalid.
func ParsePackages(src io.Reader, yield func(Package), reject func(crawl.Rejection)) error {
	r := deb822.NewReader(src, deb822.Options{Fields: packageFields})
	for r.Next() {
		p := Package{
			Name: string(r.At(0)), Arch: string(r.At(1)), Version: string(r.At(2)),
			Filename: string(r.At(4)), SHA256: string(r.At(5)),
		}
		p.Source, p.SourceVersion = sourceOf(p, string(r.At(3)))
		p.Size, _ = strconv.ParseInt(string(r.At(6)), 10, 64) // check refuses 0
		p.Phased, _ = strconv.Atoi(string(r.At(7)))           // absent means everyone
		if p.Phased < 0 || p.Phased >= 100 {
			p.Phased = 0
		}
		if why := p.check(); why != "" {
			reject(crawl.Rejection{What: "line " + strconv.Itoa(r.Line()) + ": " + clip(p.Name+" "+p.Version), Reason: why})
			continue
		}
		yield(p)
	}
	if err := r.Err(); err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "debian: the package index can't be read")
	}
	return nil
}

// sourceOf reads the Source field, "name" or "name (version)"; absent parts
// are those of the binary package.
func sourceOf(p Package, field string) (name, version string) {
	name, version = p.Name, p.Version
	if field == "" {
		return name, version
	}
	name, rest, _ := strings.Cut(field, " ")
	rest = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, "(") && strings.HasSuffix(rest, ")") {
		version = rest[1 : len(rest)-1]
	}
	return name, version
}

// check says why no patch can be made of the stanza.
func (p Package) check() string {
	switch {
	case !isName(p.Name) || !isName(p.Source):
		return "the package or source name is malformed"
	case !isName(p.Arch):
		return "the architecture is malformed"
	case vercmp.Valid(vercmp.DPKG, p.Version) != nil || vercmp.Valid(vercmp.DPKG, p.SourceVersion) != nil:
		return "the version is malformed"
	case !isHash(p.SHA256):
		return "the index gives no SHA-256 of the package file"
	case p.Size <= 0:
		return "the index gives no size of the package file"
	case !isPath(p.Filename):
		return "the file name is not a plain path below the archive"
	}
	return ""
}

// isName accepts the letters of package names and architectures (Debian
// Policy 5.6.1), upper case too because some vendors use it.
func isName(s string) bool {
	if s == "" || len(s) > 200 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c >= 'A' && c <= 'Z':
		case i > 0 && (c == '+' || c == '-' || c == '.' || c == '_'):
		default:
			return false
		}
	}
	return true
}

// isPath accepts a relative path without empty, hidden-parent or control parts.
func isPath(s string) bool {
	s = strings.TrimPrefix(s, "./") // flat archives
	if s == "" || len(s) > 1000 || s[0] == '/' || strings.ContainsAny(s, "\\?#") {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x21 || s[i] == 0x7f {
			return false
		}
	}
	for seg := range strings.SplitSeq(s, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return false
		}
	}
	return true
}

// clip shortens text from outside before it goes into a message.
func clip(s string) string {
	if len(s) > 120 {
		s = s[:120] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
