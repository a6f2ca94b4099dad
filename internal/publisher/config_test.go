package publisher_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher"
)

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "publisher.yaml")
	text := `
data: /var/lib/fettle/publisher
repository: /srv/fettle
keys: /etc/fettle/keys
machine: true
interval: 30m
keep: 240h
feeds:
  epss: ""
  kev: file:///srv/feeds/kev.json
archives:
  - name: apps
    uri: https://archive.example/debian
    suite: stable
    components: [main, contrib]
    architectures: [amd64]
    keyring: /usr/share/keyrings/apps.gpg
    security: false
    release: debian-12
    allow_expired: true
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FETTLE_PUBLISHER_PASSPHRASE", "secret")
	t.Setenv("FETTLE_PUBLISHER_FEEDS__CVSS", "file:///srv/feeds/cve.tar.zst")
	got, err := publisher.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	no := false
	want := publisher.Config{
		Data: "/var/lib/fettle/publisher", Repository: "/srv/fettle", Keys: "/etc/fettle/keys", Passphrase: "secret", Machine: true,
		Interval: 30 * time.Minute, Keep: 240 * time.Hour, Feeds: publisher.DefaultFeeds(),
		Archives: []publisher.Archive{{
			Name: "apps", URI: "https://archive.example/debian", Suite: "stable", Components: []string{"main", "contrib"}, Architectures: []string{"amd64"},
			Keyring: "/usr/share/keyrings/apps.gpg", Security: &no, Release: "debian-12", AllowExpired: true,
		}},
	}
	want.Feeds.EPSS, want.Feeds.KEV, want.Feeds.CVSS = "", "file:///srv/feeds/kev.json", "file:///srv/feeds/cve.tar.zst"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := publisher.Load(path + ".gone"); !fault.Is(err, fault.NotFound) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("data: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.Load(path); !fault.Is(err, fault.Invalid) {
		t.Errorf("no YAML: %v", err)
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]publisher.Config{
		"no folders":             {Machine: true},
		"keys in the repository": {Data: "/d", Repository: "/r", Keys: "/r/keys", Machine: true},
		"root keys in it":        {Data: "/d", Repository: "/r", Keys: "/k", RootKeys: "/r", Machine: true},
		"nothing to publish":     {Data: "/d", Repository: "/r", Keys: "/k"},
	} {
		if err := c.Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (publisher.Config{Data: "/d", Repository: "/r", Keys: "/rk", Machine: true}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	runs := 0
	err := w.p.Run(ctx, nil, func(r publisher.Report, err error) {
		if err != nil || r.Version != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		runs++
		stop()
	})
	if err != nil || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
}
