package winget

import "strings"

// cveName says under which names CVE records speak of a package. The names are
// exact, case included, and each row was held against the records of 2024 in
// CISA's vulnrichment before it was entered. A row is right only when
//
//   - the CNA is the product's own maker, so that its word on fixed versions is
//     the vendor's;
//   - the record's versions are numbered like the DisplayVersion that the
//     product registers, so that both compare;
//   - the records name the first fixed version (lessThan), not a sentence.
//
// That leaves out, for now: Adobe's Acrobat Reader (the records name the last
// affected version of all tracks together), Zoom ("see references"), Git and
// Notepad++ (GitHub assigns, in expressions), CPython (registers another version
// than it is known by), 7-Zip, VLC and Temurin (no record of the maker's own
// with a fixed version).
type cveName struct {
	Identifier      string // of the package
	CNA             string // assignerShortName of the record
	Vendor, Product string // of its "affected" entry
}

// cveNames is the reviewed table.
func cveNames() []cveName {
	return []cveName{
		{"Google.Chrome", "Chrome", "Google", "Chrome"},
		{"Google.Chrome.EXE", "Chrome", "Google", "Chrome"},
		{"Mozilla.Firefox", "mozilla", "Mozilla", "Firefox"},
		{"Mozilla.Firefox.MSI", "mozilla", "Mozilla", "Firefox"},
		{"Mozilla.Firefox.ESR", "mozilla", "Mozilla", "Firefox ESR"},
		{"Mozilla.Thunderbird", "mozilla", "Mozilla", "Thunderbird"},
		{"Mozilla.Thunderbird.ESR", "mozilla", "Mozilla", "Thunderbird"},
	}
}

// namesOf are the rows of the followed packages. Firefox in other languages
// (Mozilla.Firefox.de) is the same product.
func namesOf(wanted follow, identifiers []string) []cveName {
	var out []cveName
	for _, id := range identifiers {
		if !wanted.wants(id) {
			continue
		}
		for _, n := range cveNames() {
			if strings.EqualFold(n.Identifier, id) || n.Identifier == "Mozilla.Firefox" && mozillaLanguage(id) {
				n.Identifier = id
				out = append(out, n)
			}
		}
	}
	return out
}

// mozillaLanguage reports "Mozilla.Firefox.de" and "Mozilla.Firefox.pt-BR", in
// which the last part is a language.
func mozillaLanguage(id string) bool {
	tag, ok := strings.CutPrefix(id, "Mozilla.Firefox.")
	return ok && tag != "ESR" && tag != "MSI" && (len(tag) == 2 || len(tag) == 5 && tag[2] == '-')
}
