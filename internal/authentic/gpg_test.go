package authentic_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// gpgHome is a GnuPG home with keys made for one test. gpg and gpgv have to be installed.
type gpgHome struct {
	t   *testing.T
	dir string
}

func newHome(t *testing.T) *gpgHome {
	t.Helper()
	for _, tool := range []string{"gpg", "gpgv", "gpgconf"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is needed: %v", tool, err)
		}
	}
	dir, err := os.MkdirTemp("", "gpg") // short: the agent's socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	g := &gpgHome{t, dir}
	t.Cleanup(func() {
		g.exec(nil, "gpgconf", "--kill", "gpg-agent")
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return g
}

func (g *gpgHome) exec(stdin []byte, argv ...string) []byte {
	g.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+g.dir, "LC_ALL=C")
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		g.t.Fatalf("%v: %v\n%s", argv, err, errOut.Bytes())
	}
	return out.Bytes()
}

func (g *gpgHome) gpg(stdin []byte, args ...string) []byte {
	g.t.Helper()
	return g.exec(stdin, append([]string{"gpg", "--batch", "--quiet", "--no-tty", "--yes", "--pinentry-mode", "loopback", "--passphrase", "", "--allow-weak-digest-algos"}, args...)...)
}

// key makes a key; extra come before the command, such as --faked-system-time. It returns the fingerprint.
func (g *gpgHome) key(name, algo, usage, expire string, extra ...string) string {
	g.t.Helper()
	g.gpg(nil, append(extra, "--quick-gen-key", name+" <"+name+"@archive.example>", algo, usage, expire)...)
	return g.fingerprint(name, 0)
}

// fingerprint returns the n-th fingerprint (0: primary, 1: first subkey) of a key.
func (g *gpgHome) fingerprint(name string, n int) string {
	g.t.Helper()
	for line := range strings.Lines(string(g.gpg(nil, "--with-colons", "--with-fingerprint", "--with-fingerprint", "--list-keys", name))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			if n == 0 {
				return f[9]
			}
			n--
		}
	}
	g.t.Fatalf("no fingerprint of %s", name)
	return ""
}

func (g *gpgHome) export(names ...string) []byte {
	g.t.Helper()
	return g.gpg(nil, append([]string{"--export"}, names...)...)
}

func (g *gpgHome) clearsign(text []byte, keys []string, extra ...string) []byte {
	g.t.Helper()
	args := append(extra, "--clearsign")
	for _, k := range keys {
		args = append([]string{"-u", k}, args...)
	}
	return g.gpg(text, args...)
}

func faked(t time.Time) string { return t.UTC().Format("20060102T150405") + "!" }

// gpgv is the verdict of gpgv as apt calls it: at least one GOODSIG, that is not expired or revoked.
func (g *gpgHome) gpgv(keyring []byte, files ...[]byte) bool {
	g.t.Helper()
	dir := g.t.TempDir()
	write := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, data, 0o600); err != nil {
			g.t.Fatal(err)
		}
		return p
	}
	args := []string{"--status-fd", "1", "--weak-digest", "SHA1", "--weak-digest", "RIPEMD160", "--keyring", write("keyring", keyring)}
	for i, f := range files {
		args = append(args, write(string(rune('a'+i)), f))
	}
	cmd := exec.Command("gpgv", args...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+g.dir, "LC_ALL=C")
	out, err := cmd.Output()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		g.t.Fatal(err)
	}
	return bytes.Contains(out, []byte("[GNUPG:] GOODSIG "))
}
