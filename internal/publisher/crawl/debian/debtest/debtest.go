// Package debtest makes signed package archives for tests: real packages,
// built by dpkg-deb, in suites whose InRelease is signed with a key made for
// the test. A test can serve the folder over HTTP or hand it to apt as a
// file address, and can spoil any part of it.
package debtest

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/klauspost/compress/gzip"
	"github.com/ulikunitz/xz"
)

// Archive is an archive below Dir, with pool and dists.
type Archive struct {
	Dir string
	// Keyring is the file with the public key.
	Keyring string
	key     *openpgp.Entity
	built   map[string]stanza
}

// Deb is a package to build. Arch "all" goes into the index of every
// architecture of its suite.
type Deb struct {
	Name, Version, Arch string
	// Source is the Source field, "name" or "name (version)".
	Source string
	// Compress is dpkg-deb's -Z; empty means xz.
	Compress string
	// Fields are further control fields, as lines.
	Fields []string
}

// Suite is one suite at one moment.
type Suite struct {
	Path, Origin, Label, Suite, Codename, Version string
	Date, ValidUntil                              time.Time
	Archs                                         []string // of indexes; default amd64
	ByHash                                        bool
	Fields                                        []string // further Release fields
	Debs                                          []Deb    // component main
}

type stanza struct {
	text, filename string
	sum            string
}

// New makes an empty archive with a fresh key that was made at the given time.
func New(t testing.TB, made time.Time) *Archive {
	t.Helper()
	a := &Archive{Dir: t.TempDir(), built: map[string]stanza{}}
	var err error
	a.key, err = openpgp.NewEntity("Archive of a test", "", "archive@test.example", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256, Time: func() time.Time { return made },
	})
	if err != nil {
		t.Fatal(err)
	}
	var pub bytes.Buffer
	if err := a.key.Serialize(&pub); err != nil {
		t.Fatal(err)
	}
	a.Keyring = filepath.Join(t.TempDir(), "keyring.gpg")
	write(t, a.Keyring, pub.Bytes())
	return a
}

// Fingerprint is the key's, in upper-case hex.
func (a *Archive) Fingerprint() string { return fmt.Sprintf("%X", a.key.PrimaryKey.Fingerprint) }

// Build builds a package into the pool, once, and returns its path.
func (a *Archive) Build(t testing.TB, d Deb) string {
	t.Helper()
	return filepath.Join(a.Dir, a.build(t, d).filename)
}

func (a *Archive) build(t testing.TB, d Deb) stanza {
	t.Helper()
	version := d.Version
	if _, rest, ok := strings.Cut(version, ":"); ok {
		version = rest
	}
	filename := "pool/main/" + d.Name + "_" + version + "_" + d.Arch + ".deb"
	if s, ok := a.built[filename]; ok {
		return s
	}
	control := "Package: " + d.Name + "\n"
	if d.Source != "" {
		control += "Source: " + d.Source + "\n"
	}
	control += "Version: " + d.Version + "\nArchitecture: " + d.Arch + "\nMaintainer: Test <test@test.example>\n"
	control += strings.Join(append(slices.Clone(d.Fields), ""), "\n") + "Description: made by a test\n"
	root := t.TempDir()
	write(t, filepath.Join(root, "DEBIAN", "control"), []byte(control))
	write(t, filepath.Join(root, "usr/share", d.Name, "version"), []byte(d.Version+"\n"))
	to := filepath.Join(a.Dir, filepath.FromSlash(filename))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	compress := d.Compress
	if compress == "" {
		compress = "xz"
	}
	out, err := exec.CommandContext(t.Context(), "dpkg-deb", "--root-owner-group", "-Z"+compress, "-b", root, to).CombinedOutput()
	if err != nil {
		t.Fatalf("dpkg-deb (is dpkg installed?): %v: %s", err, out)
	}
	data, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	s := stanza{filename: filename, sum: hash(data)}
	s.text = strings.TrimSuffix(control, "Description: made by a test\n") +
		fmt.Sprintf("Filename: %s\nSize: %d\nSHA256: %s\nDescription: made by a test\n\n", filename, len(data), s.sum)
	a.built[filename] = s
	return s
}

// Publish writes the suite's indexes and signs its InRelease, replacing what
// was there. Older indexes stay under by-hash, as in real archives.
func (a *Archive) Publish(t testing.TB, s Suite) {
	t.Helper()
	if len(s.Archs) == 0 {
		s.Archs = []string{"amd64"}
	}
	dir := filepath.Join(a.Dir, "dists", filepath.FromSlash(s.Path))
	var sums strings.Builder
	for _, arch := range s.Archs {
		var index bytes.Buffer
		for _, d := range s.Debs {
			if d.Arch == arch || d.Arch == "all" {
				index.WriteString(a.build(t, d).text)
			}
		}
		name := "main/binary-" + arch + "/Packages"
		for ext, data := range map[string][]byte{"": index.Bytes(), ".gz": gz(t, index.Bytes()), ".xz": xzip(t, index.Bytes())} {
			fmt.Fprintf(&sums, " %s %d %s\n", hash(data), len(data), name+ext)
			write(t, filepath.Join(dir, name+ext), data)
			if s.ByHash {
				write(t, filepath.Join(dir, filepath.Dir(name), "by-hash/SHA256", hash(data)), data)
			}
		}
	}
	a.Sign(t, s, s.release(sums.String()))
}

func (s Suite) release(sums string) string {
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	const layout = "Mon, 02 Jan 2006 15:04:05 UTC"
	field("Origin", s.Origin)
	field("Label", s.Label)
	field("Suite", s.Suite)
	field("Version", s.Version)
	field("Codename", s.Codename)
	field("Date", s.Date.UTC().Format(layout))
	if !s.ValidUntil.IsZero() {
		field("Valid-Until", s.ValidUntil.UTC().Format(layout))
	}
	if s.ByHash {
		field("Acquire-By-Hash", "yes")
	}
	field("Architectures", strings.Join(s.Archs, " "))
	field("Components", "main")
	for _, f := range s.Fields {
		b.WriteString(f + "\n")
	}
	lines := strings.SplitAfter(sums, "\n")
	slices.Sort(lines)
	return b.String() + "SHA256:\n" + strings.Join(lines, "")
}

// Sign signs a Release text as the suite's InRelease.
func (a *Archive) Sign(t testing.TB, s Suite, text string) {
	t.Helper()
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, a.key.PrivateKey, &packet.Config{DefaultHash: crypto.SHA256, Time: func() time.Time { return s.Date }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, a.InRelease(s.Path), append(out.Bytes(), '\n'))
}

// InRelease is where the suite's signed file lies.
func (a *Archive) InRelease(suite string) string {
	return filepath.Join(a.Dir, "dists", filepath.FromSlash(suite), "InRelease")
}

// Handler serves a folder with ETags of the content, so that files which change
// within a second are not taken for unchanged.
func Handler(dir string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path.Clean("/"+r.URL.Path))))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"`+hash(data)+`"`)
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
}

// Edit changes a file of the archive in place.
func Edit(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, change(data))
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func xzip(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
