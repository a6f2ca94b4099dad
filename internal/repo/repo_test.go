package repo_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestPaths(t *testing.T) {
	payload, err := repo.PayloadPath(hash)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want string }{
		{repo.MetadataPath(repo.Root, 3), "metadata/3.root.json"},
		{repo.MetadataPath(repo.Timestamp, 9), "metadata/timestamp.json"},
		{repo.TargetPath("catalog/debian-12.json.zst", hash), "targets/catalog/" + hash + ".debian-12.json.zst"},
		{repo.TargetPath("index", hash), "targets/" + hash + ".index"},
		{payload, "payloads/sha256/01/" + hash},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "catalog/debian-12.amd64.json.zst", "a/b/c", "g++_1.2~rc1+b2=x@y"} {
		if err := repo.CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "a/.b", "a\\b", "c:x", "a b", "a\x00",
		"\u00e4", strings.Repeat("x", 181),
	} {
		if err := repo.CheckName(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want it refused", bad, err)
		}
	}
}

func TestPayloadPathRefusesOtherText(t *testing.T) {
	for _, bad := range []string{"", hash[1:], hash + "0", strings.ToUpper(hash), "../" + hash[3:]} {
		if _, err := repo.PayloadPath(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want it refused", bad, err)
		}
	}
}

func TestExpiryDefaults(t *testing.T) {
	e := repo.Expiry{Timestamp: time.Hour}.OrDefault()
	if e.Timestamp != time.Hour || e.Root != 365*24*time.Hour {
		t.Errorf("got %+v", e)
	}
	for _, r := range repo.Roles() {
		if repo.DefaultExpiry().Of(r) <= 0 || !r.Valid() {
			t.Errorf("role %s has no life time", r)
		}
	}
}

func FuzzParseRoot(f *testing.F) {
	f.Add([]byte(`{"signed":{"_type":"root","keys":{"a":null},"roles":{"root":null},"version":1},"signatures":[]}`))
	f.Add([]byte(`{"signed":{"_type":"root","keys":{"a":null},"roles":{"root":{"keyids":["a"],"threshold":1}},"version":1,"expires":"2030-01-01T00:00:00Z"},"signatures":[{"keyid":"a","sig":""}]}`))
	f.Add([]byte(`{"signed":{"_type":"root","roles":{"root":{"keyids":[],"threshold":0}}},"signatures":null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := repo.RootFingerprint(data); err == nil {
			t.Errorf("a root without a good signature was accepted: %q", data)
		} else if !fault.Is(err, fault.Untrusted) {
			t.Errorf("code %s", fault.CodeOf(err))
		}
	})
}
