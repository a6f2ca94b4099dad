//go:build !race

// What the race detector makes slow and finds nothing in.

package publish_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

func TestKeyFiles(t *testing.T) {
	key, err := publish.NewKey(repo.Targets)
	if err != nil {
		t.Fatal(err)
	}
	for _, pass := range []string{"", "correct horse"} {
		path, err := key.Save(t.TempDir(), []byte(pass))
		if err != nil {
			t.Fatal(err)
		}
		got, err := publish.LoadKey(path, []byte(pass))
		if err != nil || got.ID() != key.ID() || got.Role() != repo.Targets {
			t.Errorf("%v, %v", got, err)
		}
		if _, err := key.Save(filepath.Dir(path), nil); !fault.Is(err, fault.Conflict) {
			t.Errorf("replacing a key file: %v", err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if plain := strings.Contains(string(data), `"seed"`); plain != (pass == "") {
			t.Errorf("passphrase %q: seed in the clear: %v", pass, plain)
		}
		if pass != "" {
			for _, wrong := range []string{"", "wrong"} {
				if _, err := publish.LoadKey(path, []byte(wrong)); !fault.Is(err, fault.Denied) {
					t.Errorf("passphrase %q: %v", wrong, err)
				}
			}
		}
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := publish.LoadKey(path, []byte(pass)); !fault.Is(err, fault.Untrusted) {
			t.Errorf("a key that the group may read: %v", err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %s", key, key, key, key); strings.Count(text, "targets key ") != 4 {
		t.Errorf("a key prints as %q", text)
	}
	for name, content := range map[string]string{
		"empty": "", "other": `{"type":"rsa"}`, "short": `{"type":"ed25519","role":"targets","id":"x","seed":"AAAA"}`,
		"renamed": `{"type":"ed25519","role":"targets","id":"x","seed":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`,
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := publish.LoadKey(path, nil); !fault.Is(err, fault.Untrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOfflineRootKeys(t *testing.T) {
	safe := t.TempDir()
	_, dir, keys := initRepo(t, publish.Setup{RootKeysDir: safe, RootPassphrase: []byte("pass")})
	daily, err := publish.LoadKeys(keys, nil)
	if err != nil || len(daily) != 3 {
		t.Fatalf("%v, %v", daily, err)
	}
	r, err := publish.Open(dir, daily, publish.Options{})
	if err != nil {
		t.Fatal(err)
	}
	add(t, r, "a", "x")
	release(t, r, start)
	if err := r.RenewRoot(t.Context(), start, daily); !fault.Is(err, fault.Denied) {
		t.Errorf("renewed without root keys: %v", err)
	}
	roots, err := publish.LoadKeys(safe, []byte("pass"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.RenewRoot(t.Context(), start, roots[:1]); !fault.Is(err, fault.Denied) {
		t.Errorf("renewed with one of two root keys: %v", err)
	}
	if err := r.RenewRoot(t.Context(), start.Add(time.Hour), roots[:2]); err != nil {
		t.Error(err)
	}
	if !r.RootExpires().Equal(start.Add(time.Hour + 365*24*time.Hour)) {
		t.Errorf("expires %s", r.RootExpires())
	}
	if _, err := publish.Open(dir, daily, publish.Options{}); err != nil {
		t.Error(err)
	}
}
