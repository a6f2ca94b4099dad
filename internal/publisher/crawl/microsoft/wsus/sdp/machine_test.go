//go:build !race

package sdp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory/recorded"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// withWMI adds a machine's maker to its facts: queries for HP's machines find
// something.
type withWMI struct {
	detect.Facts
	maker string
}

func (w withWMI) Query(_, query string) (bool, error) {
	if strings.Contains(query, "Win32_ComputerSystem") {
		return strings.Contains(query, w.maker), nil
	}
	return false, detect.Unknown("devices are not recorded")
}

// TestRealPackagesOnRecordedMachines evaluates every real package's rules with
// what each recorded machine's inventory knows. What can be told without its
// files is: architecture, version and release leave over what is made for it.
func TestRealPackagesOnRecordedMachines(t *testing.T) {
	root, err := os.OpenRoot(realCatalog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c, err := ParseFolder(root)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(feedtest.Path(t, "inventory-samples"), "*systeminfo*.txt"))
	if err != nil || len(paths) != 45 {
		t.Fatal(len(paths), err)
	}
	type tally struct{ no, maybe, yes int }
	counts := map[string]tally{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := recorded.Systeminfo(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, done := counts[s.OS.Platform()]; done { // the rules ask nothing that tells machines of one release apart
			continue
		}
		facts, hp := s.Facts(), withWMI{s.Facts(), "HP"}
		n := tally{}
		for _, p := range c.Packages {
			applicable, installed := p.rules()
			plain, asHP := detect.Eval(applicable, facts).Value, detect.Eval(applicable, hp).Value
			if plain != detect.Undetermined && plain != asHP {
				t.Errorf("%s on %s: %s becomes %s when more is known", p.KB, filepath.Base(path), plain, asHP)
			}
			if v := detect.Eval(installed, facts).Value; v == detect.True {
				t.Errorf("%s on %s: installed, although nothing of it is known", p.KB, filepath.Base(path))
			}
			switch asHP {
			case detect.False:
				n.no++
			case detect.True:
				n.yes++
			default:
				n.maybe++
			}
		}
		counts[s.OS.Platform()] = n
	}
	t.Log(counts)
	for platform, some := range map[string]bool{
		"windows-xp-386": false, "windows-server-2003-amd64": false, "windows-vista-amd64": false,
		"windows-7-amd64": true, "windows-10-1803-amd64": true, "windows-10-1809-amd64": true,
	} {
		if n := counts[platform]; n.yes+n.maybe > 0 != some || n.no+n.yes+n.maybe != len(c.Packages) {
			t.Errorf("%s: %+v of %d", platform, n, len(c.Packages))
		}
	}
}
