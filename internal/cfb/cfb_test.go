package cfb

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

const wxs = `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Id="*" Name="Acme App" Language="1033" Version="1.0.0" Manufacturer="Acme" UpgradeCode="4B1E3B5C-0C5B-4B8E-9E0B-0A6C1C1D2E3F">
    <Package InstallerVersion="200" Compressed="yes" InstallScope="perMachine"/>
    <Media Id="1" Cabinet="app.cab" EmbedCab="yes"/>
    <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFilesFolder"><Directory Id="INSTALLDIR" Name="Acme">
      <Component Id="Main" Guid="8C1A4B0E-3F0A-4D9E-8A55-0A0B0C0D0E0F"><File Id="App" Source="app.bin"/></Component>
    </Directory></Directory></Directory>
    <Feature Id="All" Level="1"><ComponentRef Id="Main"/></Feature>
  </Product>
</Wix>
`

// installer makes an MSI with wixl. Its payload does not compress.
func installer(t testing.TB, size int) string {
	t.Helper()
	dir := t.TempDir()
	payload := make([]byte, size)
	for i, x := 0, uint32(1); i < size; i++ {
		x = x*1664525 + 1013904223
		payload[i] = byte(x >> 24)
	}
	for name, data := range map[string][]byte{"app.wxs": []byte(wxs), "app.bin": payload} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "wixl", "-o", "app.msi", "app.wxs")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("wixl (scripts/setup test installs it): %v\n%s", err, out)
	}
	return filepath.Join(dir, "app.msi")
}

func open(t testing.TB, data []byte) *File {
	t.Helper()
	f, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestAgainstMsitools reads installers of several sizes and compares every stream that msiinfo can name with what it extracts. The
// largest needs sectors of the allocation table that the header has no room for.
func TestAgainstMsitools(t *testing.T) {
	for _, size := range []int{10, 5000, 300_000, 9_000_000} {
		file := installer(t, size)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f := open(t, data)
		out, err := exec.CommandContext(t.Context(), "msiinfo", "streams", file).Output()
		if err != nil {
			t.Fatalf("msiinfo (scripts/setup test installs it): %v", err)
		}
		names := strings.Fields(string(out))
		if len(names) < 2 {
			t.Fatalf("msiinfo names %q", names)
		}
		for _, name := range names {
			want, err := exec.CommandContext(t.Context(), "msiinfo", "extract", file, name).Output()
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, e := range f.Root().Children {
				got, err := f.Read(e, 1<<30)
				if err != nil {
					t.Fatalf("%q: %v", e.Name(), err)
				}
				found = found || bytes.Equal(got, want)
			}
			if !found {
				t.Errorf("%d bytes: no stream has the %d bytes that msiinfo says are in %q", size, len(want), name)
			}
		}
		if f.Root().Child("\x05SummaryInformation") == nil || f.Root().Child("none") != nil {
			t.Error("Child finds what is not there, or not what is")
		}
	}
}

func TestDamage(t *testing.T) {
	data, err := os.ReadFile(installer(t, 5000))
	if err != nil {
		t.Fatal(err)
	}
	set := func(at int, bytes ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], bytes); return b }
	}
	directory := (int(le32(data, 48)) + 1) * 512
	for name, change := range map[string]func([]byte) []byte{
		"nothing":                       func([]byte) []byte { return nil },
		"only a header":                 func(b []byte) []byte { return b[:512] },
		"cut off":                       func(b []byte) []byte { return b[:1024] },
		"another start":                 set(0, 0),
		"big endian":                    set(28, 0xff, 0xfe),
		"sectors of 2^31 bytes":         set(30, 31),
		"a huge allocation table":       set(44, 0xff, 0xff, 0xff, 0x7f),
		"the table lies outside":        set(76, 0xff, 0xff, 0xff, 0x0f),
		"the directory lies outside":    set(48, 0xff, 0xff, 0xff, 0x0f),
		"the small table lies outside":  set(60, 0xff, 0xff, 0xff, 0x0f),
		"the cutoff is huge":            set(56, 0xff, 0xff, 0xff, 0xff),
		"no root":                       set(directory+66, 2),
		"a root that is its own child":  set(directory+76, 0, 0, 0, 0),
		"a child outside the directory": set(directory+76, 0xff, 0xff, 0xff, 0x0f),
		"an entry beside itself":        set(directory+128+68, 1, 0, 0, 0),
		"a name of 100 bytes":           set(directory+128+64, 100),
		"a stream larger than the file": set(directory+128+120, 0xff, 0xff, 0xff, 0x7f),
		"a second root in the tree":     set(directory+128+66, 5),
	} {
		t.Run(name, func(t *testing.T) {
			b := change(bytes.Clone(data))
			if _, err := Open(bytes.NewReader(b), int64(len(b))); !fault.Is(err, fault.Invalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	f := open(t, data)
	if _, err := f.Read(f.Root(), 100); !fault.Is(err, fault.Invalid) {
		t.Errorf("a storage is read: %v", err)
	}
	for _, e := range f.Root().Children {
		if _, err := f.Read(e, e.Size-1); !fault.Is(err, fault.Exhausted) {
			t.Errorf("more than the limit is read: %v", err)
		}
	}
}

// FuzzOpen reads everything that a file claims to hold: it must end, within a few times the file's size.
func FuzzOpen(f *testing.F) {
	data, err := os.ReadFile(installer(f, 5000))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:4096])
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("got %v", err)
			}
			return
		}
		read := 0
		var walk func(e *Entry)
		walk = func(e *Entry) {
			_ = e.Name()
			for _, c := range e.Children {
				if c.Kind == Storage {
					walk(c)
					continue
				}
				b, _ := file.Read(c, int64(len(data)))
				read += len(b)
			}
		}
		walk(file.Root())
		if read > len(data) {
			t.Errorf("%d bytes of streams in %d bytes of file", read, len(data))
		}
	})
}
