package lab

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Suite is one suite of an [Archive]. The names are those of a Release file.
type Suite struct {
	// Codename is also the folder below dists and what sources.list names.
	Codename string
	// Name is the Suite field, such as "stable-security".
	Name          string
	Origin, Label string
	// ValidFor sets Valid-Until that long after the signing; 0 leaves it out.
	ValidFor time.Duration
}

// SecuritySuite and MainSuite are the codenames of the two suites that
// [NewArchive] makes.
const (
	MainSuite     = "lab"
	SecuritySuite = "lab-security"
)

// Archive is a signed apt repository in a folder, as a vendor would serve it:
// pools, indexes for each architecture, by-hash copies, InRelease and
// Release.gpg. Add packages, then Publish; both as often as needed. Old
// versions stay.
type Archive struct {
	// Dir is the root of the archive, to be served as it is.
	Dir string
	// Suites are published in this order; change them before Publish.
	Suites []Suite
	// Archs are the architectures with an index.
	Archs []string
	// SignAt, if set, is the time that signatures claim, for tests of clocks.
	SignAt time.Time

	gnupg string
	owner *os.File // locked while the archive is open
}

// keyFolder begins the name of the folder with an archive's signing key.
const keyFolder = "fettle-lab-gpg-"

// NewArchive makes an empty archive in dir with a release suite and a security
// suite like Debian's, for amd64 and i386, and a signing key of its own. The
// caller must Close it.
func NewArchive(ctx context.Context, dir string) (*Archive, error) {
	if err := Require(); err != nil {
		return nil, err
	}
	gnupg, owner, err := makeKeyFolder(ctx)
	if err != nil {
		return nil, err
	}
	a := &Archive{
		Dir: dir, gnupg: gnupg, owner: owner, Archs: []string{"amd64", "i386"},
		Suites: []Suite{
			{Codename: MainSuite, Name: "stable", Origin: "Fettle-Lab", Label: "Fettle-Lab"},
			{Codename: SecuritySuite, Name: "stable-security", Origin: "Fettle-Lab", Label: "Fettle-Lab-Security", ValidFor: 7 * 24 * time.Hour},
		},
	}
	_, err = a.gpg(ctx, "--quick-generate-key", "Fettle lab archive <lab@fettle.example>", "ed25519", "sign", "never")
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// Close ends the archive's gpg-agent and deletes the signing key. The archive
// itself stays.
func (a *Archive) Close() error {
	if a.gnupg == "" {
		return nil
	}
	_, err := command(context.Background(), "gpgconf", "--homedir", a.gnupg, "--kill", "all")
	err = errors.Join(err, os.RemoveAll(a.gnupg), a.owner.Close())
	a.gnupg = ""
	return err
}

// makeKeyFolder makes a folder for a key that [Sweep] knows to be in use.
func makeKeyFolder(ctx context.Context) (string, *os.File, error) {
	unlock, err := lockState(ctx)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	// gpg-agent's socket needs a short path.
	dir, err := os.MkdirTemp("", keyFolder)
	if err != nil {
		return "", nil, fmt.Errorf("lab: archive: %w", err)
	}
	owner, err := own(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, owner, nil
}

// PublicKey is the archive's key in armour, for Signed-By.
func (a *Archive) PublicKey(ctx context.Context) ([]byte, error) {
	return a.gpg(ctx, "--armor", "--export")
}

// Sources is a deb822 source for apt that names all suites of the archive.
func (a *Archive) Sources(uri, keyPath string) string {
	var names []string
	for _, s := range a.Suites {
		names = append(names, s.Codename)
	}
	return fmt.Sprintf("Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n",
		uri, strings.Join(names, " "), keyPath)
}

// Add builds packages into the pool of a suite. They are served from the next
// Publish on.
func (a *Archive) Add(ctx context.Context, suite string, packages ...Package) error {
	for _, p := range packages {
		if _, err := p.Build(ctx, filepath.Join(a.Dir, "pool", suite, p.Name)); err != nil {
			return err
		}
	}
	return nil
}

// Publish writes and signs the indexes of every suite.
func (a *Archive) Publish(ctx context.Context) error {
	for _, s := range a.Suites {
		if err := os.MkdirAll(filepath.Join(a.Dir, "pool", s.Codename), 0o755); err != nil {
			return fmt.Errorf("lab: publish: %w", err)
		}
		for _, arch := range a.Archs {
			if err := a.writeIndex(ctx, s, arch); err != nil {
				return err
			}
		}
		if err := a.sign(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// writeIndex writes Packages in three forms, each also under its hash.
func (a *Archive) writeIndex(ctx context.Context, s Suite, arch string) error {
	// Not dpkg-scanpackages: it runs several programs for each package.
	scan := exec.CommandContext(ctx, "apt-ftparchive", "--arch", arch, "packages", filepath.Join("pool", s.Codename))
	scan.Dir = a.Dir
	packages, err := finish(scan)
	if err != nil {
		return err
	}
	dir := filepath.Join(a.Dir, "dists", s.Codename, "main", "binary-"+arch)
	plain := filepath.Join(dir, "Packages")
	if err := writeFile(plain, packages); err != nil {
		return err
	}
	if err := writeGzip(plain+".gz", packages); err != nil {
		return err
	}
	if _, err := command(ctx, "xz", "--keep", "--force", plain); err != nil {
		return err
	}
	for _, name := range []string{plain, plain + ".gz", plain + ".xz"} {
		if err := copyByHash(name); err != nil {
			return err
		}
	}
	return nil
}

// sign writes Release, InRelease and Release.gpg of a suite.
func (a *Archive) sign(ctx context.Context, s Suite) error {
	dir := filepath.Join(a.Dir, "dists", s.Codename)
	for _, old := range []string{"Release", "InRelease", "Release.gpg"} {
		if err := os.Remove(filepath.Join(dir, old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("lab: publish: %w", err)
		}
	}
	argv := []string{"apt-ftparchive"}
	for _, f := range [][2]string{
		{"Origin", s.Origin},
		{"Label", s.Label},
		{"Suite", s.Name},
		{"Codename", s.Codename},
		{"Components", "main"},
		{"Architectures", strings.Join(a.Archs, " ")},
		{"Acquire-By-Hash", "yes"},
		{"Description", "made in Fettle's lab"},
	} {
		argv = append(argv, "-o", "APT::FTPArchive::Release::"+f[0]+"="+f[1])
	}
	// Debian lists MD5 and SHA-256 only; apt asks by the strongest hash listed.
	argv = append(argv,
		"-o", "APT::FTPArchive::Release::SHA1=false", "-o", "APT::FTPArchive::Release::SHA512=false",
		"-o", fmt.Sprintf("APT::FTPArchive::Release::ValidTime=%d", int(s.ValidFor.Seconds())),
		"-o", "APT::FTPArchive::DoByHash=false", "release", dir)
	release, err := command(ctx, argv...)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "Release")
	if err := writeFile(path, a.redate(release, s)); err != nil {
		return err
	}
	if _, err := a.gpg(ctx, "--clearsign", "--output", filepath.Join(dir, "InRelease"), path); err != nil {
		return err
	}
	_, err = a.gpg(ctx, "--armor", "--detach-sign", "--output", path+".gpg", path)
	return err
}

// redate replaces Date and Valid-Until when SignAt is set, and drops the
// by-hash copies that apt-ftparchive lists as files of their own.
func (a *Archive) redate(release []byte, s Suite) []byte {
	const form = "Mon, 02 Jan 2006 15:04:05 UTC"
	var out strings.Builder
	for line := range strings.Lines(string(release)) {
		switch {
		case strings.Contains(line, "/by-hash/"):
			continue
		case !a.SignAt.IsZero() && strings.HasPrefix(line, "Date: "):
			line = "Date: " + a.SignAt.UTC().Format(form) + "\n"
		case !a.SignAt.IsZero() && strings.HasPrefix(line, "Valid-Until: "):
			line = "Valid-Until: " + a.SignAt.Add(s.ValidFor).UTC().Format(form) + "\n"
		}
		out.WriteString(line)
	}
	return []byte(out.String())
}

// gpg runs gpg on the archive's own key ring.
func (a *Archive) gpg(ctx context.Context, args ...string) ([]byte, error) {
	if a.gnupg == "" {
		return nil, errors.New("lab: the archive is closed, its key is gone")
	}
	argv := []string{"gpg", "--homedir", a.gnupg, "--batch", "--yes", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", "--digest-algo", "SHA512"}
	if !a.SignAt.IsZero() {
		argv = append(argv, "--faked-system-time", fmt.Sprintf("%d!", a.SignAt.Unix()), "--ignore-time-conflict", "--ignore-valid-from")
	}
	return command(ctx, append(argv, args...)...)
}

// copyByHash links a file to by-hash/SHA256/<hash> beside it (Acquire-By-Hash).
func copyByHash(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("lab: by-hash: %w", err)
	}
	sum := sha256.Sum256(data)
	return writeFile(filepath.Join(filepath.Dir(path), "by-hash", "SHA256", hex.EncodeToString(sum[:])), data)
}

// writeFile writes a file and the folders above it.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("lab: write: %w", err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("lab: write: %w", err)
	}
	return nil
}

// writeGzip writes data compressed.
func writeGzip(path string, data []byte) error {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		return fmt.Errorf("lab: gzip: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("lab: gzip: %w", err)
	}
	return writeFile(path, []byte(b.String()))
}
