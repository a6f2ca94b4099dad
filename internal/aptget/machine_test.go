package aptget_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/aptget"
	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/deb822"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// watched runs each command in a mount namespace where apt's own folders are overlays, so that whatever it writes there
// lands in upper, also while somebody else's apt works on this machine.
type watched struct{ upper string }

var aptFolders = []string{"/var/lib/apt", "/var/cache/apt", "/etc/apt"}

func (w watched) Run(ctx context.Context, cmd run.Cmd) (run.Result, error) {
	script := "set -e; d=$1; shift; for f in " + strings.Join(aptFolders, " ") + "; do mkdir -p $d/up$f $d/work$f; " +
		"mount -t overlay overlay -o lowerdir=$f,upperdir=$d/up$f,workdir=$d/work$f $f; done; exec \"$@\""
	cmd.Argv = append([]string{"unshare", "-m", "sh", "-c", script, "sh", w.upper}, cmd.Argv...)
	return run.OS{}.Run(ctx, cmd)
}

// written lists what commands wrote to apt's own folders.
func (w watched) written(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, f := range aptFolders {
		err := filepath.WalkDir(w.upper+"/up"+f, func(path string, d fs.DirEntry, err error) error {
			if err == nil && path != w.upper+"/up"+f {
				out = append(out, strings.TrimPrefix(path, w.upper+"/up"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// root is a folder that apt's unprivileged user can reach, unlike t.TempDir's parent.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "aptget")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// keysOf loads what a source's Signed-By names.
func keysOf(t *testing.T, by aptget.SignedBy) authentic.Keyring {
	t.Helper()
	keys, err := authentic.LoadKeyrings(by.Keyrings...)
	if err != nil {
		t.Fatal(err)
	}
	if by.Armored != "" {
		k, err := authentic.ParseKeyring([]byte(by.Armored))
		if err != nil {
			t.Fatal(err)
		}
		keys = keys.With(k)
	}
	return keys.Only(by.Fingerprints...)
}

// prove verifies an index the way the publisher does and returns the number of its packages.
func prove(t *testing.T, ix aptget.Index) int {
	t.Helper()
	data, err := os.ReadFile(ix.InRelease)
	if err != nil {
		t.Fatal(err)
	}
	plain, signer, err := authentic.VerifyInRelease(data, keysOf(t, ix.SignedBy), time.Now())
	if err != nil {
		t.Fatalf("%s: %v", ix.InRelease, err)
	}
	r := deb822.NewReader(bytes.NewReader(plain), deb822.Options{Fields: []string{"SHA256"}})
	if !r.Next() {
		t.Fatal(r.Err())
	}
	want := ""
	for line := range deb822.Lines(r.At(0)) {
		if w := deb822.Words(line); len(w) == 3 && w[2] == ix.MetaKey {
			want = w[0]
		}
	}
	f, err := aptget.OpenIndex(ix.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	n := 0
	pr := deb822.NewReader(io.TeeReader(f, h), deb822.Options{Fields: []string{"Package", "SHA256"}})
	for pr.Next() {
		if len(pr.At(0)) == 0 || len(pr.At(1)) != 64 {
			t.Fatalf("line %d: package %q SHA256 %q", pr.Line(), pr.At(0), pr.At(1))
		}
		n++
	}
	if err := pr.Err(); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); want == "" || got != want {
		t.Errorf("%s: SHA-256 %s, %s signed %s", ix.Path, got, signer.UserID, want)
	}
	return n
}

// TestThisMachine runs the machine's own apt against its own archives and proves what comes.
func TestThisMachine(t *testing.T) {
	dir := root(t)
	w := watched{filepath.Join(dir, "watch")}
	var hooks strings.Builder // as container images and desktops have them
	for _, when := range []string{"Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"} {
		hooks.WriteString("APT::Update::" + when + " { \"touch /var/lib/apt/" + when + "\"; };\n")
	}
	write(t, dir+"/hooks.conf", hooks.String())
	t.Setenv("APT_CONFIG", dir+"/hooks.conf")
	apt, err := aptget.Machine(t.Context(), w, aptget.Config{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	var last float64
	rep, err := apt.Update(t.Context(), func(p float64, _ string) { last = p })
	if err != nil || rep.Fetched == 0 || last != 100 || len(rep.Failures) > 0 {
		t.Fatalf("%+v %v, progress %v", rep, err, last)
	}
	indexes, err := apt.Indexes(t.Context())
	if err != nil || len(indexes) == 0 {
		t.Fatal(indexes, err)
	}
	packages := 0
	for _, ix := range indexes {
		n := prove(t, ix)
		t.Logf("%s %s %s/%s %s: %d packages, %s, signed by %v", ix.RepoURI, ix.Dist, ix.Component, ix.Architecture, ix.Label, n, filepath.Ext(ix.Path), ix.SignedBy.Keyrings)
		if ix.RepoURI == "" || ix.Dist == "" || ix.Suite == "" || ix.Codename == "" || ix.Architecture == "" || ix.Origin == "" || !ix.Trusted || ix.Entry == "" {
			t.Errorf("%+v", ix)
		}
		packages += n
	}
	if packages < 1000 {
		t.Errorf("%d packages in all", packages)
	}
	if rep, err = apt.Update(t.Context(), nil); err != nil {
		t.Fatalf("again: %+v %v", rep, err)
	}
	download(t, apt, indexes[0], dir)
	if got := w.written(t); len(got) > 0 {
		t.Errorf("the machine's own apt changed: %v", got)
	}
	// The same eyes see what a plain apt-get does, so the test can fail.
	if _, err := w.Run(t.Context(), run.Cmd{Argv: []string{"touch", "/var/lib/apt/lists/x"}}); err != nil || len(w.written(t)) != 2 {
		t.Errorf("the watch does not see writes: %v %v", w.written(t), err)
	}
}

// download fetches the smallest package of an index and proves it.
func download(t *testing.T, apt *aptget.Apt, ix aptget.Index, root string) {
	t.Helper()
	f, err := aptget.OpenIndex(ix.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var spec aptget.Spec
	var sum, size string
	r := deb822.NewReader(f, deb822.Options{Fields: []string{"Package", "Version", "Architecture", "SHA256", "Size"}})
	for r.Next() {
		if s := string(r.At(4)); (size == "" || len(s) < len(size) || len(s) == len(size) && s < size) && strings.Contains(string(r.At(1)), ":") {
			spec, sum, size = aptget.Spec{Name: string(r.At(0)), Version: string(r.At(1)), Arch: string(r.At(2))}, string(r.At(3)), s
		}
	}
	dir := filepath.Join(root, "debs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := apt.Download(t.Context(), []aptget.Spec{spec}, dir, nil)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v %v", spec, files, err)
	}
	deb, err := os.Open(files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer deb.Close()
	if err := authentic.Checksum(deb, sum, files[0].Size); err != nil {
		t.Errorf("%s: %v", spec, err)
	}
	t.Logf("downloaded %s, %d bytes", files[0].Path, files[0].Size)
	if _, err := apt.Download(t.Context(), []aptget.Spec{{Name: spec.Name, Arch: spec.Arch, Version: "0~none"}}, dir, nil); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), spec.Name) {
		t.Errorf("a version that does not exist: %v", err)
	}
	for _, bad := range []aptget.Spec{{}, {Name: "-o", Version: "1"}, {Name: "a b", Version: "1"}, {Name: "a=1", Version: "1"}, {Name: "./x.deb", Version: "1"}} {
		if _, err := apt.Download(t.Context(), []aptget.Spec{bad}, dir, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
