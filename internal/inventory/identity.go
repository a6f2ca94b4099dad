package inventory

import (
	"strings"
	"unicode"
)

// The kinds of identity under which a Windows product is known. A row of the
// inventory is of KindProduct; catalog items and detection rules may name it by
// any of them.
const (
	KindProduct = "arp"     // name of the Uninstall key; the product code for Windows Installer
	KindFamily  = "upgrade" // UpgradeCode of Windows Installer, "{GUID}"
	KindApp     = "app"     // AppName of display name and publisher
	KindMSI     = "msi"     // product code of a Windows Installer product (MsiProductInstalled)
)

// KindPackaged is the kind of AppX and MSIX packages, which are known by their
// package family name and nothing else: "Microsoft.WindowsCalculator_8wekyb3d8bbwe".
const KindPackaged = "appx"

// Identity is one way to name an installed package.
type Identity struct{ Kind, Name string }

// Named makes the identity under which packages of that kind and name are
// found. Windows compares keys and codes without case, so they are folded here
// and nowhere else (GUIDs to upper case, names to lower); other kinds stay as
// they are.
func Named(kind, name string) Identity {
	switch {
	case kind == KindFamily, kind == KindMSI, kind == KindProduct && IsGUID(name):
		name = strings.ToUpper(name)
	case kind == KindProduct, kind == KindApp, kind == KindPackaged:
		name = strings.ToLower(name)
	}
	return Identity{Kind: kind, Name: name}
}

// IsProduct reports whether the kind names products of Windows, which answer
// to several identities, compare without case and may belong to one user alone.
func IsProduct(kind string) bool {
	return kind == KindProduct || kind == KindFamily || kind == KindApp || kind == KindMSI || kind == KindPackaged
}

// Identities lists all that the package answers to, the most exact first. For
// a package manager's packages that is kind and name alone. A product of
// Windows answers to its Uninstall key, its product code and upgrade code when
// it has them, and its display name with its publisher.
func (p Package) Identities() []Identity {
	if p.Kind != KindProduct {
		return []Identity{Named(p.Kind, p.Name)}
	}
	out := make([]Identity, 0, 4)
	out = append(out, Named(KindProduct, p.Name))
	if IsGUID(p.Name) {
		out = append(out, Named(KindMSI, p.Name))
	}
	if p.UpgradeCode != "" {
		out = append(out, Named(KindFamily, p.UpgradeCode))
	}
	if app := AppName(p.Title, p.Publisher); app != "" {
		out = append(out, Identity{KindApp, app})
	}
	return out
}

// IsGUID reports whether the name is a GUID in braces, as product codes and
// upgrade codes are written: "{9E1C1679-240F-3EBC-BEDC-71AE38841E09}".
func IsGUID(name string) bool {
	if len(name) != 38 || name[0] != '{' || name[37] != '}' {
		return false
	}
	for i, c := range []byte(name[1:37]) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
		if dash && c != '-' || !dash && !hex {
			return false
		}
	}
	return true
}

// AppName is the name under which a product is known whatever its version: the
// display name without version, architecture and language, "|", and the
// publisher without its legal form, both in lower case with single spaces.
// "Mozilla Firefox (x64 en-US)" of "Mozilla Corporation" is "mozilla
// firefox|mozilla". It is empty when either has nothing left: a bare name is no
// identity. Whole numbers stay, because they name products ("Office 2019").
//
// The rule is ours, after the normalisation that winget's client makes of
// display names (NameNormalization.cpp of microsoft/winget-cli), and stricter.
func AppName(title, publisher string) string {
	name := strings.Join(keep(words(title), func(w string, _ bool) bool {
		return !isVersion(w) && !isPlatform(w) && w != "version"
	}), " ")
	maker := strings.Join(keep(words(publisher), func(w string, first bool) bool {
		return first || !isLegalForm(w)
	}), " ")
	if name == "" || maker == "" {
		return ""
	}
	return name + "|" + maker
}

// words cuts a text at spaces and brackets, in lower case; marks and commas
// around words are left out.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("()[]{},;|\"'®™©", r)
	})
}

func keep(all []string, wanted func(word string, first bool) bool) []string {
	out := all[:0]
	for _, w := range all {
		w = strings.Trim(w, "-–_:")
		if w != "" && wanted(w, len(out) == 0) {
			out = append(out, w)
		}
	}
	return out
}

// isVersion reports numbers with dots between them, with a "v" before them or
// a letter and more behind them: "25.01", "v1.2.3", "6.0.1-rc2".
func isVersion(w string) bool {
	w = strings.TrimPrefix(w, "v")
	dot, digit := strings.IndexByte(w, '.'), 0
	if dot < 1 || dot+1 == len(w) {
		return false
	}
	for _, c := range []byte(w[:dot]) {
		if c < '0' || c > '9' {
			return false
		}
		digit++
	}
	return digit > 0 && w[dot+1] >= '0' && w[dot+1] <= '9'
}

// isPlatform reports an architecture or a language tag such as "en-us".
func isPlatform(w string) bool {
	switch w {
	case "x64", "x86", "amd64", "arm64", "aarch64", "win32", "win64", "64-bit", "32-bit", "64bit", "32bit", "x86_64", "x86-64", "user", "machine-wide":
		return true
	}
	if len(w) != 5 || w[2] != '-' {
		return false
	}
	for _, i := range []int{0, 1, 3, 4} {
		if w[i] < 'a' || w[i] > 'z' {
			return false
		}
	}
	return true
}

// isLegalForm reports words that say what kind of company it is.
func isLegalForm(w string) bool {
	switch strings.ReplaceAll(w, ".", "") {
	case "inc", "incorporated", "llc", "ltd", "limited", "gmbh", "ag", "kg", "co", "company", "corp", "corporation", "sa", "sas", "sarl", "bv", "nv",
		"ab", "as", "oy", "srl", "spa", "plc", "pty", "pte", "kk", "ev", "foundation", "sro", "se":
		return true
	}
	return false
}
