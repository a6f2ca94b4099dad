package msifile

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
)

// built makes a package with wixl; properties are its own besides the usual.
func built(t testing.TB, properties int) string {
	t.Helper()
	for _, tool := range []string{"wixl", "msiinfo"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: run scripts/setup test", tool)
		}
	}
	var own strings.Builder
	for i := range properties {
		fmt.Fprintf(&own, `<Property Id="OWN%d" Value="value of %d %s"/>`, i, i, strings.Repeat("long ", i%40))
	}
	dir := t.TempDir()
	text := `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Id="8C1A4B0E-3F0A-4D9E-8A55-0A0B0C0D0E0A" Name="Acme App" Language="1033" Version="1.2.3" Manufacturer="Acme" UpgradeCode="4B1E3B5C-0C5B-4B8E-9E0B-0A6C1C1D2E3F">
    <Package InstallerVersion="200" Compressed="yes" InstallScope="perMachine"/>
    <Media Id="1" Cabinet="app.cab" EmbedCab="yes"/>` + own.String() + `
    <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFilesFolder"><Directory Id="INSTALLDIR" Name="Acme">
      <Component Id="Main" Guid="8C1A4B0E-3F0A-4D9E-8A55-0A0B0C0D0E0F"><File Id="App" Source="payload.txt"/></Component>
    </Directory></Directory></Directory>
    <Feature Id="All" Level="1"><ComponentRef Id="Main"/></Feature>
  </Product>
</Wix>
`
	for name, body := range map[string]string{"app.wxs": text, "payload.txt": "hello\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "wixl", "-o", "app.msi", "app.wxs")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("wixl: %v\n%s", err, out)
	}
	return filepath.Join(dir, "app.msi")
}

func read(t testing.TB, path string) (map[string]string, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return Properties(bytes.NewReader(data), int64(len(data)))
}

// TestAgainstMsitools: every property that msiinfo exports, and no other.
func TestAgainstMsitools(t *testing.T) {
	for _, path := range []string{built(t, 0), built(t, 300), "../authentic/authenticode/testdata/good.msi", "../authentic/authenticode/testdata/plain.msi"} {
		got, err := read(t, path)
		if err != nil {
			t.Fatal(path, err)
		}
		out, err := exec.CommandContext(t.Context(), "msiinfo", "export", path, "Property").Output()
		if err != nil {
			t.Fatal("msiinfo:", err)
		}
		want := map[string]string{}
		for i, line := range strings.Split(strings.TrimRight(string(out), "\r\n"), "\r\n") {
			if key, value, ok := strings.Cut(line, "\t"); ok && i > 2 {
				want[key] = value
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || len(want) < 5 {
			t.Errorf("%s (-msiinfo +ours):\n%s", path, diff)
		}
	}
}

// TestPool: long strings, free numbers and numbers of three bytes, which wixl
// does not make.
func TestPool(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	pool := []byte{0, 0, 0, 0x80, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x70, 0x11, 1, 0, 2, 0, 1, 0}
	strs, width, err := parsePool(pool, []byte("key"+long+"\xe9\xe8"))
	if err != nil || width != 3 {
		t.Fatal(width, err)
	}
	if diff := cmp.Diff([]string{"", "key", "", long, "éè"}, strs); diff != "" {
		t.Error(diff)
	}
	got, err := pairs([]byte{1, 0, 0, 4, 0, 0, 3, 0, 0, 1, 0, 0}, 3, strs)
	if err != nil || got["key"] != long || got["éè"] != "key" {
		t.Errorf("%d properties, %v", len(got), err)
	}
}

func TestDamage(t *testing.T) {
	good, err := os.ReadFile(built(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(good); n += 511 {
		if _, err := Properties(bytes.NewReader(good[:n]), int64(n)); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for name, f := range map[string]func() error{
		"odd pool":         func() error { _, _, err := parsePool([]byte{0, 0, 0, 0, 1}, nil); return err },
		"cut pool":         func() error { _, _, err := parsePool([]byte{0, 0, 0, 0, 0, 0, 1, 0}, nil); return err },
		"cut strings":      func() error { _, _, err := parsePool([]byte{0, 0, 0, 0, 9, 0, 1, 0}, []byte("x")); return err },
		"odd table":        func() error { _, err := pairs([]byte{1}, 2, []string{""}); return err },
		"pointing nowhere": func() error { _, err := pairs([]byte{1, 0, 9, 0}, 2, []string{"", "a"}); return err },
	} {
		if err := f(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzProperties(f *testing.F) {
	data, err := os.ReadFile(built(f, 2))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Properties(bytes.NewReader(data), int64(len(data))); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("an error that is no refusal: %v", err)
		}
	})
}

func FuzzPool(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0x80, 3, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0}, []byte("keyx"), []byte{1, 0, 0, 2, 0, 0})
	f.Fuzz(func(t *testing.T, pool, data, rows []byte) {
		strs, width, err := parsePool(pool, data)
		if err == nil {
			_, err = pairs(rows, width, strs)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("an error that is no refusal: %v", err)
		}
	})
}
