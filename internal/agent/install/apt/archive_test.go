package apt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
)

func soundArchive() catalog.Archive {
	sum := strings.Repeat("0123456789abcdef", 4)
	return catalog.Archive{
		ID: sum[:16], Path: "bookworm-security", InRelease: catalog.Blob{SHA256: sum, Size: 1},
		Indexes: []catalog.Index{{Name: "main/binary-amd64/Packages", Component: "main", Arch: "amd64"}},
	}
}

// TestArchiveWordsCannotInject is trust.md's row 2: the agent checks the
// vendor's own signature, and a catalog, even a signed one, can't switch that
// off by what its archives are called.
func TestArchiveWordsCannotInject(t *testing.T) {
	for name, change := range map[string]func(*catalog.Archive){
		"a field in the suite":         func(a *catalog.Archive) { a.Path = "stable\nTrusted: yes" },
		"an option in the suite":       func(a *catalog.Archive) { a.Path = "stable [trusted=yes]" },
		"a suite that climbs":          func(a *catalog.Archive) { a.Path = "stable/../../../etc" },
		"an absolute suite":            func(a *catalog.Archive) { a.Path = "/etc/" },
		"a suite with a variable":      func(a *catalog.Archive) { a.Path = "$(ARCH)/" },
		"a field in the component":     func(a *catalog.Archive) { a.Indexes[0].Component = "main\nTrusted: yes" },
		"a field in the architecture":  func(a *catalog.Archive) { a.Indexes[0].Arch = "amd64\nTrusted: yes" },
		"a second architecture":        func(a *catalog.Archive) { a.Indexes[0].Arch = "amd64 i386" },
		"an index that climbs":         func(a *catalog.Archive) { a.Indexes[0].Name = "main/../../../Packages" },
		"an id that climbs":            func(a *catalog.Archive) { a.ID = "../../../etc/apt/sources.list.d/x" },
		"no id":                        func(a *catalog.Archive) { a.ID = "" },
		"no suite":                     func(a *catalog.Archive) { a.Path = "" },
		"a line break alone":           func(a *catalog.Archive) { a.Path = "stable\n" },
		"a carriage return in the end": func(a *catalog.Archive) { a.Indexes[0].Component = "main\r" },
	} {
		a := soundArchive()
		change(&a)
		if err := checkArchive(a); !fault.Is(err, fault.Untrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{"bookworm-security", "bookworm/updates", "stable", "./", "/", "noble-updates", "deb/stable/", "v1.30:/"} {
		a := soundArchive()
		a.Path = path
		if err := checkArchive(a); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestKeyringPlaces: a catalog can't name a key that it brought itself.
func TestKeyringPlaces(t *testing.T) {
	here := filepath.Join(t.TempDir(), "key.gpg")
	if err := os.WriteFile(here, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"/etc/hostname": true, "": false, here: false, "/etc": false, "/usr/share/keyrings/none.gpg": false,
		"/etc/../etc/hostname": false, "/etc/hostname\nTrusted: yes": false, "etc/hostname": false,
	} {
		if got := keyringHere(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	w := &workspace{dir: "/w"}
	a := soundArchive()
	a.Keyring = here
	if text := w.source(a); strings.Contains(text, "Signed-By") {
		t.Errorf("the key of %s counts:\n%s", here, text)
	}
}
