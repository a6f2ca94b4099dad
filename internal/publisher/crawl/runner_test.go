package crawl_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

var day1 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// vendor is a source that says what it is told to say.
type vendor struct {
	name         string
	offer        string // a patch id
	fetch, parse error
	fetched      int
}

func (v *vendor) Name() string { return v.name }

func (v *vendor) Fetch(_ context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	v.fetched++
	if v.fetch != nil {
		return crawl.Fetched{}, v.fetch
	}
	fp := `"` + v.offer + `"`
	err := os.WriteFile(crawl.BlobPath(dir, v.offer), []byte(v.offer), 0o644)
	return crawl.Fetched{Changed: string(prev) != fp, Fingerprint: crawl.Fingerprint(fp)}, err
}

func (v *vendor) Parse(_ context.Context, dir string, at crawl.Fingerprint) (crawl.Output, error) {
	name := strings.Trim(string(at), `"`)
	data, err := os.ReadFile(crawl.BlobPath(dir, name))
	if err != nil {
		return crawl.Output{}, err
	}
	if v.parse != nil && name == v.offer {
		return crawl.Output{}, v.parse
	}
	return crawl.Output{Patches: []patch.Patch{{ID: patch.ID(data)}}}, nil
}

func (v *vendor) Blobs(at crawl.Fingerprint) []string { return []string{strings.Trim(string(at), `"`)} }

func runner(t *testing.T, dir string, sources ...crawl.Source) *crawl.Runner {
	t.Helper()
	r, err := crawl.NewRunner(dir, sources)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func run(t *testing.T, r *crawl.Runner, now time.Time) []crawl.Result {
	t.Helper()
	got, err := r.Run(t.Context(), now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func offers(results []crawl.Result) []string {
	var out []string
	for _, r := range results {
		for _, p := range r.Output.Patches {
			out = append(out, r.Health.Source+" "+string(p.ID))
		}
	}
	return out
}

func TestRunnerKeepsGoing(t *testing.T) {
	dir := t.TempDir()
	a, b := &vendor{name: "a", offer: "a1"}, &vendor{name: "b", offer: "b1"}
	r := runner(t, dir, a, b)
	if diff := cmp.Diff([]string{"a a1", "b b1"}, offers(run(t, r, day1))); diff != "" {
		t.Errorf("first run (-want +got):\n%s", diff)
	}

	a.offer, b.offer, b.fetch = "a2", "b2", fault.New(fault.Unavailable, "the vendor is away").WithHint("wait")
	day2 := day1.AddDate(0, 0, 1)
	got := run(t, r, day2)
	if diff := cmp.Diff([]string{"a a2", "b b1"}, offers(got)); diff != "" {
		t.Errorf("a failing source (-want +got):\n%s", diff)
	}
	h := got[1].Health
	if h.OK() || h.Failures != 1 || !h.LastSuccess.Equal(day1) || !h.LastAttempt.Equal(day2) || h.LastError != "the vendor is away" || h.Hint != "wait" || h.Age(day2) != 24*time.Hour {
		t.Errorf("health: %+v", h)
	}
	if want := "b: stands as of 2026-11-21T12:00:00Z; it could not be refreshed since: the vendor is away"; h.Note() != want {
		t.Errorf("note: %q", h.Note())
	}
	if !got[0].Changed || got[1].Changed || !got[0].Health.OK() || got[0].Health.Note() != "" {
		t.Errorf("health of the other: %+v", got[0])
	}

	// A new process remembers; a bad document is refused and the old one kept.
	b.fetch, b.parse = nil, fault.New(fault.Invalid, "it is a web page, not data")
	r = runner(t, dir, a, b)
	got = run(t, r, day2.Add(time.Hour))
	if diff := cmp.Diff([]string{"a a2", "b b1"}, offers(got)); diff != "" {
		t.Errorf("a bad document (-want +got):\n%s", diff)
	}
	if got[1].Health.Failures != 2 || got[0].Changed {
		t.Errorf("health: %+v", got)
	}

	b.parse = nil
	got = run(t, r, day2.Add(2*time.Hour))
	if diff := cmp.Diff([]string{"a a2", "b b2"}, offers(got)); diff != "" || got[1].Health.Failures != 0 || !got[1].Health.OK() {
		t.Errorf("well again: %s %+v", diff, got[1].Health)
	}
	files, err := os.ReadDir(filepath.Join(r.Dir("b"), "blobs"))
	if err != nil || len(files) != 1 || files[0].Name() != "b2" {
		t.Errorf("old files are swept: %v, %v", files, err)
	}
}

func TestRunnerNeverFetched(t *testing.T) {
	r := runner(t, t.TempDir(), &vendor{name: "a", fetch: os.ErrPermission})
	got := run(t, r, day1)
	h := got[0].Health
	if h.OK() || h.Age(day1) >= 0 || !strings.Contains(h.Note(), "nothing could be fetched so far") || strings.Contains(h.LastError, "permission") {
		t.Errorf("%+v: a cause that is no fault stays private", h)
	}
}

func TestRunnerDamagedState(t *testing.T) {
	dir := t.TempDir()
	a := &vendor{name: "a", offer: "a1"}
	run(t, runner(t, dir, a), day1)
	if err := os.WriteFile(filepath.Join(dir, "sources.json"), []byte(`{"a":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := offers(run(t, runner(t, dir, a), day1)); len(got) != 1 {
		t.Errorf("after damage: %v", got)
	}
	// Files gone from below a good state: fetched anew next time.
	r := runner(t, dir, a)
	if err := os.Remove(crawl.BlobPath(r.Dir("a"), "a1")); err != nil {
		t.Fatal(err)
	}
	a.fetch = fault.New(fault.Unavailable, "away")
	if got := run(t, r, day1); len(got[0].Output.Patches) != 0 || got[0].Health.OK() {
		t.Errorf("%+v", got)
	}
	a.fetch = nil
	if got := offers(run(t, r, day1)); len(got) != 1 {
		t.Errorf("after the loss: %v", got)
	}
}

func TestRunnerStops(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := runner(t, t.TempDir(), &vendor{name: "a"}).Run(ctx, day1, nil); !fault.Is(err, fault.Cancelled) {
		t.Errorf("%v", err)
	}
}

func TestRunnerNames(t *testing.T) {
	for _, names := range [][]string{{"a", "a"}, {""}, {"../x"}, {"A"}} {
		var sources []crawl.Source
		for _, n := range names {
			sources = append(sources, &vendor{name: n})
		}
		if _, err := crawl.NewRunner(t.TempDir(), sources); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", names, err)
		}
	}
}

// hanging never comes to an end.
type hanging struct{ vendor }

func (*hanging) Fetch(ctx context.Context, _ string, _ crawl.Fingerprint) (crawl.Fetched, error) {
	<-ctx.Done()
	return crawl.Fetched{}, ctx.Err()
}

// TestRunnerDoesNotWaitForEver: a vendor that never comes to an end keeps the
// others from being published for a day, not for ever.
func TestRunnerDoesNotWaitForEver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := runner(t, dir, &hanging{vendor{name: "drip"}}, &vendor{name: "well", offer: "p1"})
		start := time.Now()
		got := run(t, r, day1)
		if took := time.Since(start); took > 36*time.Hour {
			t.Errorf("it took %s", took)
		}
		if diff := cmp.Diff([]string{"well p1"}, offers(got)); diff != "" {
			t.Error(diff)
		}
		if h := got[0].Health; !strings.Contains(h.LastError, "did not come to an end") || h.Failures != 1 {
			t.Errorf("%+v", h)
		}
	})
}
