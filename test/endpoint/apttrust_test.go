package endpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/test/endpoint/aptdriver/order"
	"github.com/fettlehq/fettle/test/lab"
)

// payloadFile is where the repository keeps a payload.
func (w *world) payloadFile(sum string) string {
	w.t.Helper()
	rel, err := repo.PayloadPath(sum)
	w.must(err)
	return filepath.Join(w.cfg.Repository, filepath.FromSlash(rel))
}

// swap stores changed bytes of a blob as a payload of their own, as somebody
// does who owns the server and the catalog's key, but not the vendor's.
func (w *world) swap(b catalog.Blob, change func([]byte) []byte) catalog.Blob {
	w.t.Helper()
	data, err := os.ReadFile(w.payloadFile(b.SHA256))
	w.must(err)
	if b.Encoding == "zstd" {
		z, err := zstd.NewReader(nil)
		w.must(err)
		defer z.Close()
		data, err = z.DecodeAll(data, nil)
		w.must(err)
	}
	data = change(slices.Clone(data))
	if b.Encoding == "zstd" {
		z, err := zstd.NewWriter(nil)
		w.must(err)
		data = z.EncodeAll(data, nil)
	}
	sum := sha256.Sum256(data)
	b.SHA256, b.Size = hex.EncodeToString(sum[:]), int64(len(data))
	path := w.payloadFile(b.SHA256)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, data, 0o644))
	return b
}

// TestTrustRows1And2ApplyToApt attacks rows 1 and 2 of the trust table at the
// last station: everything before has failed, the machine's own apt stands.
func TestTrustRows1And2ApplyToApt(t *testing.T) {
	w := newWorld(t, plain("lab-a", nil), lab.Case{
		Package: "lab-main", Suite: lab.MainSuite,
		Old: []lab.Package{{Name: "lab-main", Version: lab.OldVersion}}, New: []lab.Package{{Name: "lab-main", Version: lab.NewVersion}},
	})
	m := w.machine("trust", lab.MachineOptions{})
	w.release()
	w.all()
	patches := w.newest("lab-a")
	evil := func(data []byte) []byte { return bytes.Replace(data, []byte("lab-a"), []byte("lab-b"), 1) }
	replaceHash := func(data []byte) []byte {
		return bytes.ReplaceAll(data, []byte(patches[0].Items[0].Payload.SHA256), []byte(strings.Repeat("0", 64)))
	}
	onSecurity := func(change func(a *catalog.Archive)) func(*order.Request) {
		return func(r *order.Request) {
			for i := range r.Archives {
				if r.Archives[i].Path == lab.SecuritySuite {
					r.Archives[i].Indexes = slices.Clone(r.Archives[i].Indexes)
					change(&r.Archives[i])
				}
			}
		}
	}
	for _, tc := range []struct {
		name   string
		attack func(r *order.Request)
		before func()
		want   []string
	}{
		{name: "signed by a key that the machine does not trust", before: func() {
			stranger, err := lab.NewArchive(w.ctx, t.TempDir())
			w.must(err)
			defer stranger.Close()
			key, err := stranger.PublicKey(w.ctx)
			w.must(err)
			w.must(m.WriteFile(w.ctx, lab.KeyPath, bytes.NewReader(key), 0o644))
		}, want: []string{"Fettle-Lab-Security lab-security", "NO_PUBKEY"}},
		{name: "no key at all", before: func() { m.run("rm", lab.KeyPath) }, want: []string{"Fettle-Lab-Security lab-security", "NO_PUBKEY"}},
		{name: "changed InRelease", attack: onSecurity(func(a *catalog.Archive) {
			a.InRelease = w.swap(a.InRelease, respell)
		}), want: []string{"Fettle-Lab-Security lab-security", "BADSIG"}},
		{name: "unsigned InRelease", attack: onSecurity(func(a *catalog.Archive) {
			a.InRelease = w.swap(a.InRelease, func(d []byte) []byte {
				_, text, _ := bytes.Cut(d, []byte("\n\n"))
				text, _, _ = bytes.Cut(text, []byte("-----BEGIN PGP SIGNATURE"))
				return text
			})
		}), want: []string{"Fettle-Lab-Security lab-security", "Clearsigned file isn't valid"}},
		{name: "changed index", attack: onSecurity(func(a *catalog.Archive) {
			for i := range a.Indexes {
				a.Indexes[i].Blob = w.swap(a.Indexes[i].Blob, evil)
			}
		}), want: []string{"Fettle-Lab-Security lab-security", "Hash Sum mismatch"}},
		{name: "index that names another payload", attack: onSecurity(func(a *catalog.Archive) {
			for i := range a.Indexes {
				a.Indexes[i].Blob = w.swap(a.Indexes[i].Blob, replaceHash)
			}
		}), want: []string{"Fettle-Lab-Security lab-security", "Hash Sum mismatch"}},
		{name: "index larger than signed", attack: onSecurity(func(a *catalog.Archive) {
			for i := range a.Indexes {
				a.Indexes[i].Blob = w.swap(a.Indexes[i].Blob, func(d []byte) []byte { return append(d, make([]byte, 64<<20)...) })
			}
		}), want: []string{"Fettle-Lab-Security lab-security"}},
		{name: "changed package", attack: func(r *order.Request) { r.Careless = true }, before: func() {
			path := w.payloadFile(patches[0].Items[0].Payload.SHA256)
			data, err := os.ReadFile(path)
			w.must(err)
			w.must(os.Remove(path))
			w.must(os.WriteFile(path, append(data[:len(data)-1:len(data)-1], data[len(data)-1]^1), 0o644))
		}, want: []string{"Hash Sum mismatch", "lab-a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			key, err := w.archive.PublicKey(w.ctx)
			w.must(err)
			w.must(m.WriteFile(w.ctx, lab.KeyPath, bytes.NewReader(key), 0o644))
			if tc.before != nil {
				tc.before()
			}
			m.run("rm", "-rf", "/var/lib/fettle")
			before := m.prints("/var/lib/dpkg", "/etc", "/usr/share/lab-a")
			req := m.request(order.Install, patches)
			if tc.attack != nil {
				tc.attack(&req)
			}
			r, p := m.drive(req)
			if r.Fault == nil || r.Fault.Code != fault.Untrusted {
				t.Fatalf("not refused: fault %+v, result %+v\n%s", r.Fault, r.Result, p.text())
			}
			t.Log(r.Fault.Message)
			for _, want := range tc.want {
				if !strings.Contains(r.Fault.Message, want) {
					t.Errorf("the refusal %q does not say %q", r.Fault.Message, want)
				}
			}
			if after := m.prints("/var/lib/dpkg", "/etc", "/usr/share/lab-a"); after != before {
				t.Error("something was changed")
			}
		})
	}
	t.Run("other archives serve on", func(t *testing.T) {
		key, err := w.archive.PublicKey(w.ctx)
		w.must(err)
		w.must(m.WriteFile(w.ctx, lab.KeyPath, bytes.NewReader(key), 0o644))
		m.run("rm", "-rf", "/var/lib/fettle")
		req := m.request(order.Install, w.newest("lab-a", "lab-main"))
		onSecurity(func(a *catalog.Archive) { a.InRelease = w.swap(a.InRelease, respell) })(&req)
		r, _ := m.good(req)
		if got := refusalOf(r.Result.Refused, "lab-a"); !strings.Contains(got, "BADSIG") {
			t.Errorf("lab-a was refused for %q", got)
		}
		if have := m.versions(); have["lab-main:all"] != "installed "+lab.NewVersion || have["lab-a:all"] != "installed "+lab.OldVersion {
			t.Errorf("dpkg has %q, %q", have["lab-main:all"], have["lab-a:all"])
		}
	})
}

func respell(d []byte) []byte { return bytes.Replace(d, []byte("Suite: "), []byte("Suite: x"), 1) }
