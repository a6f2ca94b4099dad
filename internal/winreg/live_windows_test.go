package winreg

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/windows/registry"
)

// TestLive imports the sample into the registry of this machine by Windows' own program and reads it back.
func TestLive(t *testing.T) {
	reg := func(args ...string) {
		if out, err := exec.Command("reg", args...).CombinedOutput(); err != nil {
			t.Fatalf("reg %q: %v\n%s", args, err, out)
		}
	}
	data, err := os.ReadFile(`testdata\sample.reg`)
	if err != nil {
		t.Fatal(err)
	}
	// Without the mark Windows takes it for its old code page. No t.TempDir: Wine 8 lacks the call by which Go removes folders.
	wide := filepath.Join(os.TempDir(), "fettle-sample.reg")
	if err := os.WriteFile(wide, append([]byte{0xff, 0xfe}, encode(string(data))...), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(wide) }) // a left-over harms nobody
	reg("import", wide)
	t.Cleanup(func() {
		reg("delete", `HKLM\SOFTWARE\Fettle Test`, "/f")
		reg("delete", `HKLM\SOFTWARE\Fettle Views`, "/f")
	})
	readings(t, Live())
	for _, view := range []string{Native, View64} {
		k, err := Live().Open(`HKLM\SOFTWARE\Fettle Views`, view)
		if err != nil {
			t.Fatal(view, err)
		}
		if got := Text(k, "View"); got != "64" {
			t.Errorf("view %q: %q", view, got)
		}
		_ = k.Close()
	}
	if _, err := Live().Open(`HKLM\SOFTWARE`, "16"); err == nil {
		t.Error("a view that is none was opened")
	}
}

// TestVolatile: the first text stays until it is set anew, and a lasting key
// of the name does not count.
func TestVolatile(t *testing.T) {
	const parent, path = `SOFTWARE\Fettle Volatile Test`, `SOFTWARE\Fettle Volatile Test\Boot`
	old, _, err := registry.CreateKey(registry.LOCAL_MACHINE, path, registry.ALL_ACCESS)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.SetStringValue("ID", "from a backup"); err != nil {
		t.Fatal(err)
	}
	if !lasts(old) {
		t.Error("a lasting key is taken for a passing one")
	}
	_ = old.Close() // it is about to go
	t.Cleanup(func() {
		for _, key := range []string{path, parent} {
			if err := registry.DeleteKey(registry.LOCAL_MACHINE, key); err != nil {
				t.Error(err)
			}
		}
	})
	for _, c := range []struct {
		text, want string
		keep       bool
	}{{"a", "a", true}, {"b", "a", true}, {"c", "c", false}, {"d", "c", true}} {
		got, err := Volatile(parent, "Boot", "ID", c.text, c.keep)
		if err != nil || got != c.want {
			t.Fatalf("%q gives %q, %v, want %q", c.text, got, err, c.want)
		}
	}
	if got := TextAt(Live(), `HKLM\`+path, "ID"); got != "c" {
		t.Errorf("read back %q", got)
	}
}
