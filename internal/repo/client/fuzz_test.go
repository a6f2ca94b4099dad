package client_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo/client"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

// Whatever bytes a repository serves for a metadata file, nothing panics,
// nothing that is not signed is believed, and the last good state stays.
func FuzzRefresh(f *testing.F) {
	dir, keys := f.TempDir(), f.TempDir()
	pub, err := publish.Init(f.Context(), dir, keys, start, publish.Setup{})
	if err != nil {
		f.Fatal(err)
	}
	root, err := pub.RootJSON()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := pub.Add(f.Context(), "a", bytes.NewReader([]byte("x")), nil); err != nil {
		f.Fatal(err)
	}
	if _, err := pub.Publish(f.Context(), start); err != nil {
		f.Fatal(err)
	}
	good, err := client.OpenDir(dir)
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = good.Close() }()
	paths := []string{"metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json"}
	for i, p := range paths {
		if i > 0 {
			body, _, err := good.Get(f.Context(), p)
			if err != nil {
				f.Fatal(err)
			}
			data, err := io.ReadAll(body)
			if err != nil || body.Close() != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), data)
		}
		f.Add(uint8(i), []byte(`{"signed":{"_type":"root","keys":{"a":null},"roles":{"root":null},"version":2},"signatures":[]}`))
		f.Add(uint8(i), []byte(`{"signed":{"_type":"targets","targets":{"x":null}},"signatures":[]}`))
		f.Add(uint8(i), []byte(`{"signed":{"_type":"timestamp","meta":{"snapshot.json":null}},"signatures":[{"keyid":"a","sig":"zz"}]}`))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		path := paths[int(which)%len(paths)]
		tr := altered{good, func(p string) (io.ReadCloser, int64, error, bool) {
			return io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil, p == path
		}}
		c, err := client.New(client.Options{Root: root, Dir: t.TempDir(), Transport: tr})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Refresh(t.Context(), start)
		if err == nil {
			if tg, err := c.Target("a"); err != nil || tg.Length != 1 {
				t.Fatalf("believed %q: %+v, %v", data, tg, err)
			}
			return
		}
		if code := fault.CodeOf(err); code != fault.Untrusted && code != fault.Unavailable {
			t.Errorf("code %s: %v", code, err)
		}
		if c.Status().Version != 0 {
			t.Error("a refused refresh left a state")
		}
	})
}
