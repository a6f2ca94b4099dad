package aptget

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/deb822"
	"github.com/fettlehq/fettle/internal/fault"
)

// Source is one archive and suite that apt is told to use.
type Source struct {
	// Type is "deb" or "deb-src".
	Type string
	// URI is the archive's base as written, Suite what follows dists/, or a path ending in "/" for a flat archive.
	URI, Suite string
	// Components is empty for a flat archive.
	Components []string
	// Architectures is empty when the source leaves them to dpkg.
	Architectures []string
	// SignedBy restricts who may sign.
	SignedBy SignedBy
	// Trusted is "yes" or "no" when the source overrides apt's verdict on signatures, else "".
	Trusted string
	// Entry is "file:number": the line in a *.list, the stanza (from 1) in a *.sources; Index.Entry is the same.
	Entry string
}

// SignedBy says whose signature a source demands. All empty means any of apt's trusted keys.
type SignedBy struct {
	// Keyrings are paths to keyring files; Fingerprints are upper-case hex, with a "!" behind when a subkey is meant
	// exactly. Armored is a key block that stands in the source itself.
	Keyrings     []string
	Fingerprints []string
	Armored      string
}

// Sources reads the machine's (or Config.Etc's) enabled sources from sources.list and sources.list.d, in apt's order.
// A file that can't be parsed is an error, as it is for apt.
func (a *Apt) Sources() ([]Source, error) {
	files := []string{}
	if _, err := os.Stat(a.etc.sourceList); err == nil {
		files = append(files, a.etc.sourceList)
	}
	parts, err := partFiles(a.etc.sourceParts, ".list", ".sources")
	if err != nil {
		return nil, err
	}
	var out []Source
	for _, f := range append(files, parts...) {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "aptget: can't read %s", f)
		}
		parse := ParseList
		if strings.HasSuffix(f, ".sources") {
			parse = ParseSources
		}
		s, err := parse(f, data)
		if err != nil {
			return nil, err
		}
		out = append(out, s...)
	}
	return out, nil
}

// TrustedKeyrings names the keyring files that vouch for sources without SignedBy: trusted.gpg and trusted.gpg.d.
func (a *Apt) TrustedKeyrings() ([]string, error) {
	files, err := partFiles(a.etc.trustedParts, ".gpg", ".asc")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(a.etc.trusted); err == nil {
		files = append(files, a.etc.trusted)
	}
	return files, nil
}

// signers maps each source's Entry to who must have signed it, with apt's trusted keyrings where it names none.
func (a *Apt) signers() (map[string]SignedBy, error) {
	sources, err := a.Sources()
	if err != nil {
		return nil, err
	}
	trusted, err := a.TrustedKeyrings()
	if err != nil {
		return nil, err
	}
	out := map[string]SignedBy{}
	for _, s := range sources {
		by := s.SignedBy
		if len(by.Keyrings) == 0 && by.Armored == "" {
			by.Keyrings = trusted
		}
		out[s.Entry] = by
	}
	return out, nil
}

var partName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// partFiles lists a folder as apt does: only plain names with one of the extensions, sorted. A missing folder is empty.
func partFiles(dir string, exts ...string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "aptget: can't read %s", dir)
	}
	var out []string
	for _, e := range entries {
		for _, ext := range exts {
			if !e.IsDir() && partName.MatchString(e.Name()) && strings.HasSuffix(e.Name(), ext) {
				out = append(out, filepath.Join(dir, e.Name()))
			}
		}
	}
	return out, nil
}

// ParseSources reads a *.sources file, sources.list(5) "DEB822-STYLE FORMAT". Stanzas with "Enabled: no" are left out.
// Each type, URI and suite of a stanza gives one Source. The file name is used for Entry and in errors.
func ParseSources(file string, data []byte) ([]Source, error) {
	var out []Source
	r := deb822.NewReader(bytes.NewReader(data), deb822.Options{Comments: true})
	for n := 1; r.Next(); n++ {
		entry := file + ":" + strconv.Itoa(n)
		if r.Get("Types") == nil {
			return nil, fault.New(fault.Invalid, "aptget: %s line %d: stanza %d has no Types", file, r.Line(), n)
		}
		if disabled(r.Get("Enabled")) {
			continue
		}
		s, err := stanza(r, entry)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "aptget: %s line %d", file, r.Line())
		}
		out = append(out, s...)
	}
	if err := r.Err(); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "aptget: %s", file)
	}
	return out, nil
}

func stanza(r *deb822.Reader, entry string) ([]Source, error) {
	base := Source{
		Entry:      entry,
		Components: deb822.Words(r.Get("Components")), Architectures: deb822.Words(r.Get("Architectures")),
		Trusted: yesNo(string(r.Get("Trusted"))),
	}
	var err error
	if base.SignedBy, err = signedBy(r.Get("Signed-By")); err != nil {
		return nil, err
	}
	uris, suites := deb822.Words(r.Get("URIs")), deb822.Words(r.Get("Suites"))
	if len(uris) == 0 || len(suites) == 0 {
		return nil, fault.New(fault.Invalid, "URIs or Suites are missing")
	}
	var out []Source
	for _, typ := range deb822.Words(r.Get("Types")) {
		if typ != "deb" && typ != "deb-src" {
			return nil, fault.New(fault.Invalid, "type %q is not known", typ)
		}
		for _, uri := range uris {
			for _, suite := range suites {
				s := base
				s.Type, s.URI, s.Suite = typ, uri, suite
				if err := s.check(); err != nil {
					return nil, err
				}
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// check applies sources.list(5): a suite that ends in "/" is a path and has no components, another has at least one.
func (s Source) check() error {
	if scheme, _, ok := strings.Cut(s.URI, ":"); !ok || scheme == "" {
		return fault.New(fault.Invalid, "%q is not a URI", s.URI)
	}
	if flat := strings.HasSuffix(s.Suite, "/"); flat != (len(s.Components) == 0) {
		return fault.New(fault.Invalid, "suite %s with %d components: a path ending in / has none, others at least one", s.Suite, len(s.Components))
	}
	return nil
}

// signedBy reads the field: keyring paths and fingerprints separated by blanks or commas, or an armored key block, whose
// empty line is written as " .".
func signedBy(value []byte) (SignedBy, error) {
	var by SignedBy
	if bytes.Contains(value, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")) {
		var b strings.Builder
		for line := range deb822.Lines(value) {
			if b.Len() > 0 || len(line) > 0 {
				b.Write(line)
				b.WriteByte('\n')
			}
		}
		by.Armored = b.String()
		return by, nil
	}
	for _, w := range strings.FieldsFunc(string(value), func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r' }) {
		if strings.HasPrefix(w, "/") {
			by.Keyrings = append(by.Keyrings, w)
			continue
		}
		fpr := strings.ToUpper(w)
		if h := strings.TrimSuffix(fpr, "!"); len(h) != 40 && len(h) != 64 || strings.Trim(h, "0123456789ABCDEF") != "" {
			return by, fault.New(fault.Invalid, "Signed-By: %q is neither a path nor a fingerprint", w)
		}
		by.Fingerprints = append(by.Fingerprints, fpr)
	}
	return by, nil
}

// disabled and yesNo read apt's booleans (StringToBool); what it does not know is left to the default.
func disabled(value []byte) bool { return yesNo(string(value)) == "no" }

func yesNo(s string) string {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "no", "false", "without", "off", "disable", "0":
		return "no"
	case "yes", "true", "with", "on", "enable", "1":
		return "yes"
	}
	return ""
}
