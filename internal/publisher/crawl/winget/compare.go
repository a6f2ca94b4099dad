package winget

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/vercmp"
)

// verdict is how what an installer says of its version stands to its manifest.
type verdict int

const (
	silent      verdict = iota // it says nothing that can be compared
	agrees                     // it says what the manifest says
	contradicts                // it is another version than the manifest says
)

// versions holds the version that an installer calls its own against the one
// that its manifest sells it as: a genuine old program with a higher number in
// its manifest would be installed for a fix, or have machines count as level.
// honest says that another version of the same line says of itself what its
// manifest says, so that the maker's numbers are the manifest's.
//
// Only a clear contradiction counts. Installers carry the numbers of the program
// that unpacks them, of a template ("1.0.0.0"), years against numbers, or, with
// Windows Installer, numbers that were made to fit into 255.255.65535.
func (s said) versions(in Installer, of Version, honest bool) (verdict, string) {
	want := in.displayVersion(of)
	var found []saying
	for _, v := range s.Versions {
		n, ok := numbers(v.Text)
		if !ok {
			continue
		}
		if level(n, want, in.kind()) || in.kind() == "msi" && packed(n, want) {
			return agrees, fmt.Sprintf("version %s as in the manifest: %s is %s", want, v.Where, v.Text)
		}
		found = append(found, saying{v.Where, n})
	}
	switch {
	case len(found) == 0:
		return silent, "the installer says nothing of its version that could be held against the manifest"
	case s.Stub != "":
		return silent, fmt.Sprintf("the installer's version resource is that of the program that unpacks it (%s), and was not held against the manifest", s.Stub)
	}
	says := fmt.Sprintf("the manifest sells it as version %s, but it says of itself that it is %s (%s)", want, found[0].Text, found[0].Where)
	if in.kind() == "msi" && in.names(want) && !slices.ContainsFunc(found, func(f saying) bool { return packed(f.Text, of.Version) }) {
		return contradicts, says + ", which is what Windows registers"
	}
	if older := func(f saying) bool { return s.older(f.Text, want, in.kind(), honest) }; allOf(found, older) {
		return contradicts, says
	}
	return silent, fmt.Sprintf("the installer calls itself %s (%s), which is another way to count than the manifest's %s, and was not held against it", found[0].Text, found[0].Where, want)
}

func allOf[T any](all []T, is func(T) bool) bool {
	return !slices.ContainsFunc(all, func(x T) bool { return !is(x) })
}

// names reports whether the manifest itself names the version under which
// Windows Installer registers the product.
func (in Installer) names(display string) bool {
	return slices.ContainsFunc(in.Entries, func(e AppsFeatures) bool {
		kind := strings.ToLower(e.InstallerType)
		return e.DisplayVersion == display && display != "" && (kind == "" || kind == "msi" || kind == "wix")
	})
}

// older reports that a version is clearly lower than the one that is claimed,
// and counted alike.
func (s said) older(found, claimed, kind string, honest bool) bool {
	f, c := parts(found), parts(claimed)
	if len(f) == 0 || len(c) == 0 || vercmp.WindowsQuad(found, claimed) >= 0 || begins(claimed, found) {
		return false
	}
	switch {
	case honest:
		return true
	case kind == "msi" && (c[0] > 255 || len(c) > 1 && c[1] > 255): // does not fit, so it was changed
		return false
	case kind == "exe" && slices.Equal(f, []int{1}): // a template's
		return false
	case slices.ContainsFunc(c, func(n int) bool { return n > 65535 }): // does not fit into the resource
		return false
	case c[0] >= 1990 && f[0] < 1990: // a year for a number
		return false
	}
	return f[0] == c[0] || len(f) == len(c)
}

// level reports that two versions are the same. Windows Installer has three
// numbers: a fourth in the manifest is not told from any other.
func level(found, claimed, kind string) bool {
	if vercmp.WindowsQuad(found, claimed) == 0 {
		return true
	}
	f, c := parts(found), parts(claimed)
	return kind == "msi" && strings.Count(found, ".") == 2 && len(c) > 3 && slices.Equal(append(f, 0, 0, 0)[:3], c[:3])
}

// packed reports that a version a.b.c.d was made to fit into Windows Installer's
// three numbers as Google's installers do it (enterprise_installer of
// google/omaha): of c the upper 6 bits with a mark, the next 8, and the last 2
// before 14 bits of d. Chrome 151.0.7922.174 is 71.188.32942 so.
func packed(found, claimed string) bool {
	f, c := parts(found), parts(claimed)
	if len(f) > 3 || len(c) < 3 || len(c) > 4 || c[2] > 0xffff {
		return false
	}
	f, c = append(f, 0, 0, 0)[:3], append(c, 0)[:4]
	return f[0] == 1<<6|c[2]>>10 && f[1] == c[2]>>2&0xff && f[2] == c[2]&3<<14|c[3]&0x3fff
}

// begins reports that a version says no more than the first numbers of another.
// Zeros at the end say nothing where the form has four numbers anyhow.
func begins(all, first string) bool {
	a, f := parts(all), parts(first)
	if dots := strings.Count(first, "."); dots < 3 && dots == strings.Count(all, ".") {
		return false
	}
	return len(f) <= len(a) && slices.Equal(a[:len(f)], f)
}

// numbers reads a version out of a file's text: "3, 0, 23, 0" and "1.2+abc" are
// such too. false for what is none, and for zeros.
func numbers(text string) (string, bool) {
	text, _, _ = strings.Cut(text, "+")
	text = strings.ReplaceAll(strings.ReplaceAll(text, ",", "."), " ", "")
	text = strings.TrimPrefix(strings.ToLower(text), "v")
	if vercmp.Valid(vercmp.Windows, text) != nil || strings.Trim(text, "0.") == "" {
		return "", false
	}
	return text, true
}

// parts are a version's numbers without zeros at the end; nil for what is no
// version, or has numbers beyond reason.
func parts(version string) []int {
	var out []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		out = append(out, n)
	}
	for len(out) > 0 && out[len(out)-1] == 0 {
		out = out[:len(out)-1]
	}
	return out
}
