package publish_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func initRepo(t *testing.T, setup publish.Setup) (r *publish.Repository, dir, keys string) {
	t.Helper()
	dir, keys = filepath.Join(t.TempDir(), "repo"), t.TempDir()
	r, err := publish.Init(t.Context(), dir, keys, start, setup)
	if err != nil {
		t.Fatal(err)
	}
	return r, dir, keys
}

func add(t *testing.T, r *publish.Repository, name, content string) publish.File {
	t.Helper()
	f, err := r.Add(t.Context(), name, strings.NewReader(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func release(t *testing.T, r *publish.Repository, now time.Time) publish.Version {
	t.Helper()
	v, err := r.Publish(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestInitAndOpen(t *testing.T) {
	_, dir, keys := initRepo(t, publish.Setup{})
	if d := cmp.Diff([]string{"metadata/1.root.json", "metadata/1.snapshot.json", "metadata/1.targets.json", "metadata/timestamp.json"}, list(t, dir)); d != "" {
		t.Error(d)
	}
	files := list(t, keys)
	if len(files) != 6 {
		t.Errorf("3 root keys and 3 others: %v", files)
	}
	for _, f := range files {
		info, err := os.Stat(filepath.Join(keys, f))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", f, info.Mode(), err)
		}
	}
	if _, err := publish.Init(t.Context(), dir, keys, start, publish.Setup{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second Init: %v", err)
	}
	all, err := publish.LoadKeys(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := publish.Open(dir, all, publish.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(publish.Version{Root: 1, Targets: 1, Snapshot: 1, Timestamp: 1}, r.Version()); d != "" {
		t.Error(d)
	}
	if _, err := publish.Open(t.TempDir(), all, publish.Options{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an empty folder: %v", err)
	}
}

// The publisher does not sign on top of what somebody changed.
func TestOpenRefusesATamperedRepository(t *testing.T) {
	r, dir, keys := initRepo(t, publish.Setup{})
	add(t, r, "a", "x")
	release(t, r, start)
	all, err := publish.LoadKeys(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"1.root.json", "2.targets.json", "2.snapshot.json", "timestamp.json"} {
		path := filepath.Join(dir, "metadata", p)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(good), `"version":`, `"version":1`, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := publish.Open(dir, all, publish.Options{}); !fault.Is(err, fault.Untrusted) {
			t.Errorf("%s: %v", p, err)
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPublishAndPrune(t *testing.T) {
	r, dir, _ := initRepo(t, publish.Setup{Options: publish.Options{Keep: 1}})
	var files []publish.File
	for i := range 4 {
		files = append(files, add(t, r, "sub/a", fmt.Sprint("content ", i)))
		release(t, r, start)
	}
	staged := add(t, r, "b", "not published yet")
	n, err := r.Prune(t.Context())
	if err != nil || n != 8 {
		t.Errorf("removed %d, %v", n, err)
	}
	want := []string{
		"metadata/1.root.json", "metadata/4.snapshot.json", "metadata/4.targets.json", "metadata/5.snapshot.json",
		"metadata/5.targets.json", "metadata/timestamp.json", staged.Path,
	}
	got := list(t, dir)
	for _, f := range files[2:] {
		want = append(want, f.Path)
	}
	if d := cmp.Diff(set(want), set(got)); d != "" {
		t.Error(d)
	}
}

func set(in []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range in {
		out[s] = true
	}
	return out
}

func TestPublishWithoutChangeSignsNothing(t *testing.T) {
	r, _, _ := initRepo(t, publish.Setup{})
	add(t, r, "a", "x")
	v := release(t, r, start)
	add(t, r, "a", "x")
	if got := release(t, r, start.Add(time.Hour)); got != v {
		t.Errorf("got %+v, want %+v", got, v)
	}
	if err := r.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove("a"); !fault.Is(err, fault.NotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if got := release(t, r, start); got.Targets != v.Targets+1 {
		t.Errorf("got %+v", got)
	}
}

func TestRefreshSignsWhatIsHalfOver(t *testing.T) {
	r, _, _ := initRepo(t, publish.Setup{})
	const day = 24 * time.Hour
	if got := r.NextRefresh(); !got.Equal(start.Add(day)) {
		t.Errorf("next refresh %s", got)
	}
	for _, c := range []struct {
		after time.Duration
		want  publish.Version
	}{
		{day - time.Second, publish.Version{Root: 1, Targets: 1, Snapshot: 1, Timestamp: 1}},
		{day, publish.Version{Root: 1, Targets: 1, Snapshot: 1, Timestamp: 2}},
		{7 * day, publish.Version{Root: 1, Targets: 1, Snapshot: 2, Timestamp: 3}},
		{45 * day, publish.Version{Root: 1, Targets: 2, Snapshot: 3, Timestamp: 4}},
	} {
		got, err := r.Refresh(t.Context(), start.Add(c.after))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("after %s: %s", c.after, d)
		}
	}
}

// What waits for Publish is neither published nor lost by a refresh.
func TestRefreshLeavesStagedChanges(t *testing.T) {
	r, dir, _ := initRepo(t, publish.Setup{})
	add(t, r, "a", "x")
	v, err := r.Refresh(t.Context(), start.Add(60*24*time.Hour))
	if err != nil || v.Targets != 2 {
		t.Fatalf("%+v, %v", v, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "metadata/2.targets.json"))
	if err != nil || strings.Contains(string(data), "sha256") {
		t.Errorf("a refresh published a staged target: %s, %v", data, err)
	}
	if v := release(t, r, start.Add(60*24*time.Hour)); v.Targets != 3 {
		t.Errorf("%+v", v)
	}
}

func TestRotateKeyRefusals(t *testing.T) {
	r, dir, keys := initRepo(t, publish.Setup{})
	all, err := publish.LoadKeys(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := publish.NewKey(repo.Targets)
	if err != nil {
		t.Fatal(err)
	}
	before := list(t, dir)
	for name, rot := range map[string]publish.Rotation{
		"no role":        {Role: "mirror"},
		"unknown key":    {Role: repo.Targets, Retire: []string{"00"}},
		"foreign key":    {Role: repo.Snapshot, Add: []publish.Key{targets}},
		"high threshold": {Role: repo.Targets, Add: []publish.Key{targets}, Threshold: 3},
		"none left":      {Role: repo.Root, Retire: rootIDs(all)},
	} {
		if err := r.RotateKey(t.Context(), start, rot, all); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d := cmp.Diff(before, list(t, dir)); d != "" {
		t.Errorf("a refused rotation wrote: %s", d)
	}
}

func rootIDs(keys []publish.Key) (ids []string) {
	for _, k := range keys {
		if k.Role() == repo.Root {
			ids = append(ids, k.ID())
		}
	}
	return ids
}

// A role whose key is lost can be given a new one by the root keys alone.
func TestRotateLostKey(t *testing.T) {
	_, dir, keys := initRepo(t, publish.Setup{})
	all, err := publish.LoadKeys(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	var lost string
	var rest []publish.Key
	for _, k := range all {
		if k.Role() == repo.Targets {
			lost = k.ID()
		} else {
			rest = append(rest, k)
		}
	}
	r, err := publish.Open(dir, rest, publish.Options{})
	if err != nil {
		t.Fatal(err)
	}
	add(t, r, "a", "x")
	if _, err := r.Publish(t.Context(), start); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "1 of 1") {
		t.Errorf("published without the targets key: %v", err)
	}
	fresh, err := publish.NewKey(repo.Targets)
	if err != nil {
		t.Fatal(err)
	}
	rot := publish.Rotation{Role: repo.Targets, Add: []publish.Key{fresh}, Retire: []string{lost}}
	if err := r.RotateKey(t.Context(), start, rot, rest); !fault.Is(err, fault.Denied) {
		t.Errorf("rotated without the old key: %v", err)
	}
	rot.Lost = true
	if err := r.RotateKey(t.Context(), start, rot, rest); err != nil {
		t.Fatal(err)
	}
	if v := release(t, r, start); v.Root != 2 || v.Targets != 3 {
		t.Errorf("%+v", v)
	}
	if _, err := publish.Open(dir, nil, publish.Options{}); err != nil {
		t.Error(err)
	}
}

// A crash anywhere before the timestamp is written leaves the old repository,
// and the next publish does not reuse a version number.
func TestCrashBeforeTimestamp(t *testing.T) {
	r, dir, keys := initRepo(t, publish.Setup{})
	stamp := filepath.Join(dir, "metadata/timestamp.json")
	old, err := os.ReadFile(stamp)
	if err != nil {
		t.Fatal(err)
	}
	add(t, r, "a", "x")
	release(t, r, start)
	if err := os.WriteFile(stamp, old, 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := publish.LoadKeys(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := publish.Open(dir, all, publish.Options{})
	if err != nil {
		t.Fatal(err)
	}
	add(t, again, "a", "y")
	if v := release(t, again, start); v.Targets != 3 || v.Snapshot != 3 || v.Timestamp != 2 {
		t.Errorf("%+v", v)
	}
}

func TestAddRefusals(t *testing.T) {
	r, dir, _ := initRepo(t, publish.Setup{})
	for _, c := range []struct{ name, custom string }{
		{"../a", ""}, {"", ""}, {"a", "{"}, {"a", `{"x":1.5}`},
	} {
		if _, err := r.Add(t.Context(), c.name, strings.NewReader("x"), json.RawMessage(c.custom)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	broken := io.MultiReader(strings.NewReader("half"), errReader{})
	if _, err := r.Add(t.Context(), "a", broken, nil); err == nil {
		t.Error("a broken source was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Add(ctx, "a", strings.NewReader("x"), nil); !fault.Is(err, fault.Cancelled) {
		t.Errorf("got %v", err)
	}
	if _, err := r.Publish(ctx, start.Add(1e4*time.Hour)); !fault.Is(err, fault.Cancelled) {
		t.Errorf("got %v", err)
	}
	if got := list(t, dir); len(got) != 4 {
		t.Errorf("refused files were left behind: %v", got)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("gone") }

func TestPayloads(t *testing.T) {
	r, _, _ := initRepo(t, publish.Setup{})
	f, err := r.AddPayload(t.Context(), strings.NewReader("payload"))
	if err != nil {
		t.Fatal(err)
	}
	want := publish.File{
		Path:   "payloads/sha256/23/239f59ed55e737c77147cf55ad0c1b030b6d7ee748a7426952f9b852d5a935e5",
		SHA256: "239f59ed55e737c77147cf55ad0c1b030b6d7ee748a7426952f9b852d5a935e5", Size: 7,
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Error(d)
	}
	if n, err := r.HasPayload(f.SHA256); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for range 2 {
		if err := r.RemovePayload(f.SHA256); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.HasPayload(f.SHA256); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}
