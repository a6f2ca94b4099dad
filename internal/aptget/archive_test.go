package aptget_test

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/aptget"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

func must(t *testing.T, dir string, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// archive makes a signed archive with one package, demo 1:1.0~x-1, of two architectures' indexes; gpg's home is home.
func archive(t *testing.T, dir, home string) {
	t.Helper()
	write(t, dir+"/src/DEBIAN/control", "Package: demo\nVersion: 1:1.0~x-1\nArchitecture: all\nMaintainer: Lab <lab@archive.example>\nDescription: demo\n")
	must(t, dir, "dpkg-deb", "-b", "--root-owner-group", "src", "demo.deb")
	deb, err := os.ReadFile(dir + "/demo.deb")
	if err != nil {
		t.Fatal(err)
	}
	packages := fmt.Sprintf("Package: demo\nVersion: 1:1.0~x-1\nArchitecture: all\nMaintainer: Lab <lab@archive.example>\nFilename: demo.deb\nSize: %d\nSHA256: %x\nDescription: demo\n", len(deb), sha256.Sum256(deb))
	rel := "Origin: Lab\nLabel: Lab-Security\nSuite: stable\nCodename: lab_one\nArchitectures: amd64 i386\nComponents: main\nDate: Sat, 21 Nov 2026 10:00:00 UTC\nSHA256:\n"
	for _, arch := range []string{"amd64", "i386"} {
		name := "main/binary-" + arch + "/Packages"
		write(t, dir+"/dists/lab_one/"+name, packages)
		rel += fmt.Sprintf(" %x %d %s\n", sha256.Sum256([]byte(packages)), len(packages), name)
	}
	write(t, dir+"/dists/lab_one/Release", rel)
	must(t, dir, "gpg", "--homedir", home, "--batch", "--yes", "--clearsign", "-o", "dists/lab_one/InRelease", "dists/lab_one/Release")
}

func gpgHome(t *testing.T) string {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		must(t, "/", "gpgconf", "--homedir", home, "--kill", "gpg-agent")
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	must(t, "/", "gpg", "--homedir", home, "--batch", "--passphrase", "", "--quick-gen-key", "lab <lab@archive.example>", "ed25519", "sign", "never")
	return home
}

// TestOneBadSourceDoesNotSpoilTheOthers serves archives on loopback: a good one under several names and bad ones.
func TestOneBadSourceDoesNotSpoilTheOthers(t *testing.T) {
	dir, home := root(t), gpgHome(t)
	for _, name := range []string{"good", "tampered"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		archive(t, filepath.Join(dir, name), home)
	}
	write(t, dir+"/tampered/dists/lab_one/main/binary-amd64/Packages", "Package: evil\nVersion: 1\nArchitecture: all\n")
	key, err := exec.Command("gpg", "--homedir", home, "--armor", "--export").Output()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer srv.Close()
	inline := " " + strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(string(key)), "\n\n", "\n.\n"), "\n", "\n ")
	write(t, dir+"/etc/sources.list.d/lab.sources", "# the lab's archives\nTypes: deb\nURIs: "+srv.URL+"/good "+srv.URL+"/missing\nSuites: lab_one\nComponents: main\nSigned-By:\n"+inline+
		"\n\nTypes: deb\nEnabled: no\nURIs: "+srv.URL+"/off\nSuites: lab_one\nComponents: main\n\nTypes: deb\nURIs: "+srv.URL+"/tampered\nSuites: lab_one\nComponents: main\nArchitectures: amd64\nSigned-By:\n"+inline+"\n")
	write(t, dir+"/etc/sources.list", "deb [arch=amd64] "+srv.URL+"/good/./ lab_one main\n") // no key: refused
	apt, err := aptget.Machine(t.Context(), run.OS{}, aptget.Config{Root: filepath.Join(dir, "apt"), Etc: filepath.Join(dir, "etc"), Architectures: []string{"amd64", "i386"}})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := apt.Update(t.Context(), nil)
	if !fault.Is(err, fault.Unavailable) || len(rep.Failures) == 0 || len(rep.Errors) == 0 {
		t.Fatalf("%+v %v", rep, err)
	}
	text := fmt.Sprintf("%+v", rep)
	for _, want := range []string{"/missing lab_one Release", "404", "NO_PUBKEY", "/tampered lab_one/main amd64 Packages"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not name %s:\n%s", want, text)
		}
	}
	indexes, err := apt.Indexes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ix := range indexes {
		if n := prove(t, ix); n != 1 || ix.SignedBy.Armored == "" || ix.Label != "Lab-Security" || ix.MetaKey != "main/binary-"+ix.Architecture+"/Packages" {
			t.Errorf("%d packages in %+v", n, ix)
		}
		got = append(got, strings.TrimPrefix(ix.RepoURI, srv.URL)+" "+ix.Codename+" "+ix.Suite+" "+ix.Architecture)
	}
	if s := strings.Join(got, ", "); s != "/good/ lab_one stable amd64, /good/ lab_one stable i386" {
		t.Errorf("indexes: %s", s)
	}
	debs := filepath.Join(dir, "debs")
	if err := os.Mkdir(debs, 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := apt.Download(t.Context(), []aptget.Spec{{Name: "demo", Version: "1:1.0~x-1"}}, debs, nil)
	if err != nil || len(files) != 1 || filepath.Base(files[0].Path) != "demo_1%3a1.0~x-1_all.deb" {
		t.Errorf("%+v %v", files, err)
	}
}

func TestMachineWithoutNetwork(t *testing.T) {
	dir := root(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil { // now nobody listens there
		t.Fatal(err)
	}
	write(t, dir+"/etc/sources.list", "deb http://"+addr+"/debian stable main\n")
	apt, err := aptget.Machine(t.Context(), run.OS{}, aptget.Config{Root: filepath.Join(dir, "apt"), Etc: filepath.Join(dir, "etc")})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := apt.Update(t.Context(), nil)
	if !fault.Is(err, fault.Unavailable) || len(rep.Failures) != 1 || !strings.Contains(rep.Failures[0].Reason, "Connection refused") {
		t.Errorf("%+v %v", rep, err)
	}
	ixs, err := apt.Indexes(t.Context())
	if err != nil || len(ixs) != 0 {
		t.Errorf("%v %v", ixs, err)
	}
}

func TestMachineRefusesFolder(t *testing.T) {
	if _, err := aptget.Machine(t.Context(), run.OS{}, aptget.Config{Root: "/tmp/a\"b"}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	empty, err := run.ParseRecorded(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := aptget.Machine(t.Context(), empty, aptget.Config{Root: t.TempDir()}); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "has no apt") {
		t.Error(err)
	}
}
