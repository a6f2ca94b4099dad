package apt

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/collect/collecttest"
	"github.com/fettlehq/fettle/internal/inventory"
)

func TestPins(t *testing.T) {
	record := func(name string) string {
		return "Package: " + name + "\nPin: version 1.*\nPin-Priority: 990\n"
	}
	tr := collecttest.Tree(t, map[string]string{
		"etc/apt/preferences":             "# comment\nExplanation: why\nPackage: a b\n c\nPin: release a=stable, l=Debian\nPin-Priority: -10\n\n\nPackage: *\nPin: Origin \"archive.example\"\nPin-Priority: 600\n",
		"etc/apt/preferences.d/20-b":      record("second"),
		"etc/apt/preferences.d/10.pref":   record("first"),
		"etc/apt/preferences.d/30.conf":   record("other-extension"),
		"etc/apt/preferences.d/.hidden":   record("hidden"),
		"etc/apt/preferences.d/x~":        record("backup"),
		"etc/apt/preferences.d/y.dpkg-o":  record("dpkg"),
		"etc/apt/preferences.d/40-bad":    record("before") + "\nPackage: x\nPin: wrong 1\nPin-Priority: 1\n\n" + record("after"),
		"etc/apt/preferences.d/50-zero":   "Package: z\nPin: version 1\nPin-Priority: 0\n",
		"etc/apt/preferences.d/60-far":    "Package: z\nPin: version 1\nPin-Priority: 40000\n",
		"etc/apt/preferences.d/70-none":   "Pin: version 1\nPin-Priority: 1\n",
		"etc/apt/preferences.d/80-no-pin": "Package: z\nPin-Priority: 1\n",
	})
	got, errs := pins(tr)
	v := func(n string) inventory.Pin {
		return inventory.Pin{Packages: []string{n}, Type: "version", Value: "1.*", Priority: 990}
	}
	want := []inventory.Pin{
		{Packages: []string{"a", "b", "c"}, Type: "release", Value: "a=stable, l=Debian", Priority: -10},
		{Packages: []string{"*"}, Type: "origin", Value: "archive.example", Priority: 600},
		v("first"), v("second"), v("before"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(errs) != 5 {
		t.Errorf("damaged files: %v", errs)
	}
}

func TestDefaultRelease(t *testing.T) {
	for name, tc := range map[string]struct {
		text, want string
		bad        bool
	}{
		"line":        {`APT::Default-Release "bookworm";`, "bookworm", false},
		"case":        {`apt::default-RELEASE "bookworm";`, "bookworm", false},
		"bare":        {`APT::Default-Release bookworm;`, "bookworm", false},
		"scope":       {"APT {\n  // Default-Release \"no\";\n  Default-Release \"yes\";\n};", "yes", false},
		"nested":      {`Other { APT { Default-Release "no"; } } APT { Get { Default-Release "no"; } }`, "", false},
		"last":        {`APT::Default-Release "a"; APT { Default-Release "b"; };`, "b", false},
		"cleared":     {`APT::Default-Release "a"; #clear APT::Default-Release;`, "", false},
		"clear all":   {`APT::Default-Release "a"; #clear APT;`, "", false},
		"comment":     {"# APT::Default-Release \"a\";\n/* APT::Default-Release \"b\"; */", "", false},
		"open quote":  {`APT::Default-Release "a`, "", true},
		"open brace":  {`APT { Default-Release "a";`, "a", false},
		"close brace": {`APT::Default-Release "a"; }`, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := defaultRelease(collecttest.Tree(t, map[string]string{"etc/apt/apt.conf.d/50x": tc.text}))
			if got != tc.want || (err != nil) != tc.bad {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
}

// TestDefaultReleaseAgrees compares with apt-config itself, order of files
// included.
func TestDefaultReleaseAgrees(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"order":       {"apt.conf.d/10": `APT::Default-Release "one";`, "apt.conf.d/20.conf": `APT { Default-Release "two"; };`, "apt.conf.d/30.bak": `APT::Default-Release "three";`},
		"main last":   {"apt.conf.d/10": `APT::Default-Release "one";`, "apt.conf": `APT::Default-Release "main";`},
		"comments":    {"apt.conf.d/10": "// x\n# y\nAPT { /* z */ Default-Release \"one\"; // w\n};\n"},
		"empty value": {"apt.conf.d/10": `APT::Default-Release "one";`, "apt.conf.d/20": `APT::Default-Release "";`},
		"cleared":     {"apt.conf.d/10": `APT::Default-Release "one";`, "apt.conf.d/20": "#clear APT::Default-Release;\n"},
		"none":        {"apt.conf.d/10": `APT::Other "x";`},
	} {
		t.Run(name, func(t *testing.T) {
			all := map[string]string{}
			for n, text := range files {
				all["etc/apt/"+n] = text
			}
			tr := collecttest.Tree(t, all)
			got, err := defaultRelease(tr)
			if err != nil {
				t.Fatal(err)
			}
			if want := aptConfig(t, tr.Path("etc/apt")); got != want {
				t.Errorf("got %q, apt-config says %q", got, want)
			}
		})
	}
}

func aptConfig(t *testing.T, dir string) string {
	t.Helper()
	// APT_CONFIG is read before Dir::Etc is used, so it can lead apt elsewhere.
	conf := filepath.Join(t.TempDir(), "lead")
	if err := os.WriteFile(conf, []byte("Dir::Etc \""+dir+"\";\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("apt-config", "shell", "value", "APT::Default-Release")
	cmd.Env = append(os.Environ(), "APT_CONFIG="+conf)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("this test needs apt-config: %v", err)
	}
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(string(out)), "value="), "'")
}

func TestThirdParty(t *testing.T) {
	tr := collecttest.Tree(t, map[string]string{
		"var/lib/apt/lists/archive.example_debian_dists_bookworm_InRelease":  "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOrigin: Debian\nLabel: Debian\n",
		"var/lib/apt/lists/node.example_x_dists_nodistro_InRelease":          "-----BEGIN PGP SIGNED MESSAGE-----\n\nOrigin: . nodistro\n",
		"var/lib/apt/lists/plain.example_dists_x_Release":                    "Label: none\n",
		"var/lib/apt/lists/plain.example_dists_x_main_binary-amd64_Packages": "Origin: no\n",
	})
	got, err := thirdParty(tr, "debian")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{". nodistro (node.example)", "unnamed (plain.example)"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestDamageIsNotEverything: what can be read counts.
func TestDamageIsNotEverything(t *testing.T) {
	tr := collecttest.Tree(t, map[string]string{
		"etc/apt/preferences":     "rubbish\n",
		"etc/apt/apt.conf.d/10":   `APT::Default-Release "one";`,
		"etc/apt/preferences.d/a": "Package: a\nPin: version 1\nPin-Priority: 1\n",
	})
	var s inventory.Snapshot
	err := Collector().Collect(context.Background(), tr, &s)
	if err == nil || len(s.Policy.Pins) != 1 || s.Policy.DefaultRelease != "one" {
		t.Fatalf("%v %+v", err, s.Policy)
	}
}

func FuzzPins(f *testing.F) {
	f.Add("Package: a\nPin: release a=x\nPin-Priority: 1\n")
	f.Add("Package: a\nPin: origin \"\"\nPin-Priority: -1\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, _ := parsePins(strings.NewReader(text))
		for _, p := range got {
			if len(p.Packages) == 0 || p.Type == "" || p.Priority == 0 {
				t.Fatalf("%+v", p)
			}
		}
	})
}

func FuzzConf(f *testing.F) {
	f.Add(`APT { Default-Release "x"; }; #clear A; /* */ // y`)
	f.Add(`{}};;"`)
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = confValue(text, releaseKey, "") // must end and not panic
	})
}
