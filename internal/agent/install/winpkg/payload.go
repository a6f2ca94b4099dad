package winpkg

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/authentic/authenticode"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// laid is a step with its verified files.
type laid struct {
	step
	dir   string
	files []string
	locks []*os.File // keep others from writing while they are open
	// product is what Windows listed before the step.
	product *inventory.Package
	// back is the spare with its files, or noBack says why it has none.
	back   *laid
	noBack error
}

func (l *laid) release() {
	for _, f := range l.locks {
		_ = f.Close() // read only
	}
	l.locks = nil
	if l.back != nil {
		l.back.release()
	}
}

// lay makes the step's private folder and brings, locks and checks its files.
func (in *Installer) lay(ctx context.Context, job install.Job, n int, s step, trust authenticode.Trust, now time.Time) (*laid, error) {
	l := &laid{step: s, dir: filepath.Join(job.Dir, "windows", strconv.Itoa(n))}
	if err := freshFolder(l.dir); err != nil {
		return nil, err
	}
	if !s.needs() {
		return l, nil
	}
	for i, p := range payloads(s.patch) {
		name := fileName(p.Name, in.kinds[s.patch.Install.Kind].Extension())
		file := filepath.Join(l.dir, name)
		if slices.Contains(l.files, file) {
			file = filepath.Join(l.dir, strconv.Itoa(i)+"-"+name)
		}
		l.files = append(l.files, file)
		from, err := job.Payload(ctx, p.SHA256)
		if err == nil {
			err = place(from, file)
		}
		if err == nil {
			var f *os.File
			if f, err = openLocked(file); err == nil {
				l.locks = append(l.locks, f)
				err = check(f, p, trust, now)
			}
		}
		if err != nil {
			l.release()
			return nil, fault.Wrap(err, fault.CodeOf(err), "file %s of %s", base(p.Name), s.patch.ID)
		}
	}
	return l, nil
}

// trustOf turns the catalog's certificates into what the check wants.
func trustOf(c *catalog.CodeSigning) (authenticode.Trust, error) {
	var t authenticode.Trust
	if c == nil {
		return t, nil
	}
	for _, part := range []struct {
		from [][]byte
		to   *[]*x509.Certificate
	}{{c.Roots, &t.Roots}, {c.TimestampRoots, &t.TSARoots}} {
		for _, der := range part.from {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return t, fault.Wrap(err, fault.Invalid, "winpkg: a certificate of the catalog is damaged")
			}
			*part.to = append(*part.to, cert)
		}
	}
	return t, nil
}

// check makes sure that the open file is what the signed catalog says, by its
// hash and by its maker's signature. Every refusal is fault.Untrusted.
func check(f *os.File, p patch.Payload, trust authenticode.Trust, now time.Time) error {
	info, err := f.Stat()
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "winpkg: can't read the file")
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, info.Size())); err != nil {
		return fault.Wrap(err, fault.Unavailable, "winpkg: can't read the file")
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != p.SHA256 || info.Size() != p.Size {
		return fault.New(fault.Untrusted, "winpkg: it has %d bytes and the SHA-256 %s, where %d and %s are signed for", info.Size(), got, p.Size, p.SHA256)
	}
	if p.Signer == "" || len(trust.Roots) == 0 {
		return fault.New(fault.Untrusted, "winpkg: nothing says who must have signed it, so it is not run")
	}
	_, err = authenticode.Verify(f, info.Size(), authenticode.Sniff, trust, authenticode.Expect{Publisher: p.Signer}, now)
	if err == nil {
		return nil
	}
	code := fault.CodeOf(err)
	if code != fault.Unavailable {
		code = fault.Untrusted
	}
	return fault.Wrap(err, code, "winpkg: it is not run").
		WithHint("the signed catalog expects the publisher %q; if the vendor changed its certificate, the catalog must say so first", p.Signer)
}

// place gives the file a second name, or copies it where that is not possible.
func place(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "winpkg: can't read the payload")
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "winpkg: can't lay out the payload")
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return fault.Wrap(err, diskCode(err), "winpkg: can't lay out the payload")
	}
	return nil
}

// diskCode tells a full disk from other troubles.
func diskCode(err error) fault.Code {
	if atomicfile.IsFull(err) {
		return fault.Exhausted
	}
	return fault.Unavailable
}

// maxFileName bounds the name under which a payload is laid, in bytes.
const maxFileName = 100

// fileName makes a name for the payload's file that every part of Windows
// takes: of the vendor's name only letters, digits and harmless signs stay.
func fileName(vendor, ext string) string {
	var b strings.Builder
	for _, r := range base(vendor) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-+", r):
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	name := b.String()
	if len(name) >= len(ext) && strings.EqualFold(name[len(name)-len(ext):], ext) {
		name = name[:len(name)-len(ext)]
	}
	name = strings.Trim(name[:min(len(name), maxFileName-len(ext))], "._-+")
	if stem, _, _ := strings.Cut(strings.ToLower(name), "."); name == "" || reserved(stem) {
		name = "setup-" + name
	}
	return strings.TrimRight(name, "-") + ext
}

// reserved are names of devices, whatever extension follows.
func reserved(stem string) bool {
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(stem) == 4 && (strings.HasPrefix(stem, "com") || strings.HasPrefix(stem, "lpt")) && stem[3] >= '0' && stem[3] <= '9'
}

// base is the last part of a vendor's path or address, without its query.
func base(name string) string {
	name, _, _ = strings.Cut(name, "?")
	return path.Base(strings.ReplaceAll(name, `\`, "/"))
}
