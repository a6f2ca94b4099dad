package winget

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// says is what an installer says: "where=text" each.
func says(stub string, all ...string) said {
	s := said{Stub: stub}
	for _, one := range all {
		where, text, _ := strings.Cut(one, "=")
		s.say(where, text)
	}
	return s
}

// TestVersions: what installers of all kinds say of their version, held against
// the manifest. The first rows are what real installers say.
func TestVersions(t *testing.T) {
	const code = "{11111111-1111-1111-1111-111111111111}"
	for _, c := range []struct {
		name    string
		kind    string
		s       said
		claimed string
		display string // named by the manifest
		honest  bool
		want    verdict
	}{
		{"Firefox in 7-Zip's self-extractor", "nullsoft", says("7zS.sfx", "ProductVersion=18.05", "FileVersion=18.05", "n=18.5.0.0"), "153.0.4", "", false, silent},
		{"the same without the stub's name", "nullsoft", says("", "ProductVersion=18.05"), "153.0.4", "", false, silent},
		{"Chrome's package", "wix", says("", "ProductVersion=71.188.32942"), "151.0.7922.174", "", false, agrees},
		{"an older one of Chrome's", "wix", says("", "ProductVersion=71.188.32941"), "151.0.7922.174", "", false, silent}, // and its order tells
		{"7-Zip", "wix", says("", "ProductVersion=26.02.00.0"), "26.02", "", false, agrees},
		{"7-Zip's program", "exe", says("", "ProductVersion=26.02", "n=26.2.0.0"), "26.02", "", false, agrees},
		{"Python's bundle", "burn", says("", "ProductVersion=3.13.15150.0"), "3.13.15", "3.13.15150.0", false, agrees},
		{"commas", "nullsoft", says("", "ProductVersion=3, 0, 23, 0"), "3.0.23", "", false, agrees},
		{"a build's name behind", "nullsoft", says("", "ProductVersion=2.4.1+5f3a"), "2.4.1", "", false, agrees},
		{"three numbers of four", "msi", says("", "ProductVersion=2.55.0"), "2.55.0.3", "", false, agrees},

		{"nothing", "inno", says(""), "2.0", "", false, silent},
		{"empty", "inno", says("", "ProductVersion= ", "n=0.0.0.0"), "2.0", "", false, silent},
		{"words", "nullsoft", says("", "ProductVersion=Release two"), "2.0", "", false, silent},
		{"a template's number", "nullsoft", says("", "ProductVersion=1.0.0.0"), "2.0", "", false, silent},
		{"higher", "nullsoft", says("", "ProductVersion=8.97"), "8.9.7", "", false, silent},
		{"a year for a number", "nullsoft", says("", "ProductVersion=24.1.0"), "2024.1.0", "", false, silent},
		{"too high for Windows Installer", "msi", says("", "ProductVersion=20.1.0"), "2020.1.0", "", false, silent},
		{"the first numbers alone", "nullsoft", says("", "ProductVersion=2.5"), "2.5.1", "", false, silent},
		{"one of two is level", "nullsoft", says("", "ProductVersion=1.5.0", "FileVersion=2.5.0"), "2.5", "", false, agrees},
		{"one of two is higher", "nullsoft", says("", "ProductVersion=1.5.0", "FileVersion=20.0.5"), "2.5.0", "", false, silent},
		{"build numbers beyond 16 bits", "nullsoft", says("", "n=1.0.55269.1"), "1.0.20240101.1", "", false, silent},
		{"a stub of the same maker", "nullsoft", says("7zS.sfx", "ProductVersion=2.1.0"), "2.5.0", "", true, silent},

		{"an old package", "wix", says("", "ProductVersion=1.0.0"), "2.0.0", "", false, contradicts},
		{"an old program", "nullsoft", says("", "ProductVersion=2.40.0.3", "n=2.40.0.3"), "2.55.0.3", "", false, contradicts},
		{"an old program in numbers alone", "inno", says("", "ProductVersion=x", "n=2.40.0.3"), "2.55.0.3", "", false, contradicts},
		{"an old program with another first number", "exe", says("", "ProductVersion=140.0.7339.80"), "151.0.7922.174", "", false, contradicts},
		{"an old one, counted otherwise", "exe", says("", "ProductVersion=18.05"), "153.0.4", "", true, contradicts},
		{"the version that the manifest names is not the package's", "msi", says("", "ProductVersion=2.0.0"), "2.0.0", "1.0.0", false, contradicts}, // machines would count as level
		{"nor is it lower", "msi", says("", "ProductVersion=2.0.0"), "2.0.0", "3.0", false, contradicts},
	} {
		in := Installer{Type: c.kind, ProductCode: code}
		if c.display != "" {
			in.Entries = []AppsFeatures{{DisplayVersion: c.display}}
		}
		got, words := c.s.versions(in, Version{Version: c.claimed}, c.honest)
		if got != c.want || words == "" {
			t.Errorf("%s: %d (%s), want %d", c.name, got, words, c.want)
		}
	}
}

// TestVersionsNeverLower: what says the very version, or a higher one, is never
// refused for being old.
func TestVersionsNeverLower(t *testing.T) {
	version := rapid.StringMatching(`[0-9]{1,5}(\.[0-9]{1,5}){0,3}`)
	rapid.Check(t, func(r *rapid.T) {
		found, claimed := version.Draw(r, "found"), version.Draw(r, "claimed")
		kind := rapid.SampledFrom([]string{"nullsoft", "wix"}).Draw(r, "kind")
		got, words := says("", "ProductVersion="+found).versions(Installer{Type: kind}, Version{Version: claimed}, rapid.Bool().Draw(r, "honest"))
		if got == contradicts && vercmp.WindowsQuad(found, claimed) >= 0 {
			r.Fatalf("%s for %s: %s", found, claimed, words)
		}
		if vercmp.WindowsQuad(found, claimed) == 0 && got != agrees && strings.Trim(found, "0.") != "" {
			r.Fatalf("%s for %s is not level: %s", found, claimed, words)
		}
	})
}

// lineOf builds the patches of a line of packages of Windows Installer, of which
// each is version (by the manifest), hash and what the package says.
func lineOf(t *testing.T, believed follow, first map[string]string, all ...[3]string) (published []string, refused []crawl.Rejection) {
	t.Helper()
	s := &Source{cfg: Config{Keep: 3}, trusted: believed}
	b := s.builder()
	b.sizes, b.said, b.sold = map[string]int64{}, map[string]said{}, map[string]string{}
	var docs []Document
	for _, x := range all {
		sum := strings.Repeat(x[1], 64)
		docs = append(docs, parse(t, strings.ReplaceAll(singleton(x[0], "1.6.0", "InstallerType: msi", "Installers:", installerLines("x64", "")), strings.ToUpper(sumA), sum)))
		b.sizes[sum] = 1
		b.said[sum] = says("", "ProductVersion of the package="+x[2])
		if first[x[1]] != "" {
			b.sold[fileOf("Maker.Tool", sum)] = first[x[1]]
		}
	}
	versions, _ := Join(docs)
	b.add(versions)
	b.build()
	for _, p := range b.out {
		if p.Platform == "windows-apps-amd64" {
			published = append(published, p.Version)
		}
	}
	return published, b.rejected
}

// TestTrustRow2OldSoldAsNew: a genuine old installer that a manifest sells as a
// new version is refused with what it says of itself, and the real newest one
// stays; what is the maker's own way to count is not.
func TestTrustRow2OldSoldAsNew(t *testing.T) {
	for _, c := range []struct {
		name     string
		believed follow
		first    map[string]string
		all      [][3]string
		want     []string
		says     string
	}{
		{"says so", nil, nil, [][3]string{{"1.0", "1", "1.0.0"}, {"2.0", "2", "2.0.0"}, {"9.0", "3", "1.5.0"}}, []string{"1.0", "2.0"}, "the manifest sells it as version 9.0, but it says of itself that it is 1.5.0 (ProductVersion of the package)"},
		{"the same file", nil, nil, [][3]string{{"1.0", "1", ""}, {"2.0", "2", ""}, {"9.0", "1", ""}}, []string{"1.0", "2.0"}, "the manifest sells it as version 9.0, but the same file is version 1.0"},
		{"the new one sold as an old one too", nil, nil, [][3]string{{"1.0", "2", "2.0.0"}, {"2.0", "2", "2.0.0"}}, []string{"2.0"}, "sells it as version 1.0, but the same file is version 2.0"},
		{"and it says nothing", nil, map[string]string{"2": "2.0"}, [][3]string{{"1.0", "2", ""}, {"2.0", "2", ""}}, []string{"2.0"}, "the same file is version 2.0"},
		{"its manifest has left", nil, map[string]string{"3": "1.0"}, [][3]string{{"2.0", "2", ""}, {"9.0", "3", ""}}, []string{"2.0"}, "the manifest sells it as version 9.0, but the same file was sold as version 1.0 before"},
		{"its manifest was wrong, and it says so", nil, map[string]string{"3": "1.0"}, [][3]string{{"2.0", "2", ""}, {"9.0", "3", "9.0.0"}}, []string{"2.0", "9.0"}, ""},
		{"it was sold as too new", nil, map[string]string{"3": "9.0"}, [][3]string{{"2.0", "2", ""}, {"3.0", "3", ""}}, []string{"2.0", "3.0"}, ""},
		{"the same number, written otherwise", nil, map[string]string{"3": "9"}, [][3]string{{"2.0", "2", ""}, {"9.0.0", "3", ""}}, []string{"2.0", "9.0.0"}, ""},
		{"it left, and is let through", follow{"maker.*"}, map[string]string{"3": "1.0"}, [][3]string{{"2.0", "2", ""}, {"9.0", "3", ""}}, []string{"2.0", "9.0"}, ""},
		{"in other numbers, out of order", nil, nil, [][3]string{{"150.0.1.1", "1", "70.2"}, {"151.0.1.1", "2", "70.3"}, {"152.0.1.1", "3", "70.1"}}, []string{"150.0.1.1", "151.0.1.1"}, "it calls itself 70.1, which is lower than what version 150.0.1.1 calls itself (70.2)"},
		{"in other numbers", nil, nil, [][3]string{{"150.0.1.1", "1", "70.1"}, {"151.0.1.1", "2", "70.2"}}, []string{"150.0.1.1", "151.0.1.1"}, ""},
		{"by the configuration", follow{"maker.*"}, nil, [][3]string{{"1.0", "1", "1.0.0"}, {"9.0", "3", "1.5.0"}}, []string{"1.0", "9.0"}, ""},
		{"a flood", nil, nil, [][3]string{{"2.0", "1", "2.0.0"}, {"9.0", "2", "1.0.0"}, {"9.1", "3", "1.1.0"}, {"9.2", "4", "1.2.0"}, {"9.3", "5", "1.3.0"}}, []string{"2.0"}, "version 9.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, refused := lineOf(t, c.believed, c.first, c.all...)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(refused) != len(c.all)-len(c.want) {
				t.Fatalf("refused %+v", refused)
			}
			if len(refused) > 0 && (!strings.Contains(refused[0].Reason, c.says) || !strings.Contains(refused[0].Reason, "winget.other_versions") || !strings.Contains(refused[0].What, "Maker.Tool")) {
				t.Errorf("refused %+v, want %q", refused, c.says)
			}
		})
	}
}

// FuzzVersions: whatever a file and a manifest say, it is judged, and never what
// is level is refused.
func FuzzVersions(f *testing.F) {
	f.Add("71.188.32942", "151.0.7922.174", "msi", true)
	f.Add("3, 0, 23, 0", "3.0.23", "nullsoft", false)
	f.Add("99999999999999999999.1", "0", "wix", false)
	f.Fuzz(func(t *testing.T, found, claimed, kind string, honest bool) {
		if vercmp.Valid(vercmp.Windows, claimed) != nil {
			return // enter leaves it out
		}
		got, words := says("", "ProductVersion="+found, "FileVersion="+claimed).versions(Installer{Type: kind}, Version{Version: claimed}, honest)
		if n, ok := numbers(claimed); words == "" || ok && n == claimed && got != agrees && len(claimed) < 80 {
			t.Errorf("%d, %q", got, words)
		}
	})
}
