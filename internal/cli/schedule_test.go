package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/window"
)

func TestParseWindow(t *testing.T) {
	four := window.Duration(4 * time.Hour)
	for text, want := range map[string]window.Window{
		"daily 22:00 4h UTC":                   {Rule: window.Rule{Kind: window.Daily}, Start: "22:00", Duration: four, Zone: "UTC"},
		"Sat,sun 22:00 4h Europe/Berlin":       {Rule: window.Rule{Kind: window.Weekly, Days: []window.Day{"sat", "sun"}}, Start: "22:00", Duration: four, Zone: "Europe/Berlin"},
		"2nd-tue+1 22:00 4h UTC":               {Rule: window.Rule{Kind: window.Monthly, Nth: 2, Days: []window.Day{"tue"}, Offset: 1}, Start: "22:00", Duration: four, Zone: "UTC"},
		"last-fri 22:00 4h UTC":                {Rule: window.Rule{Kind: window.Monthly, Nth: -1, Days: []window.Day{"fri"}}, Start: "22:00", Duration: four, Zone: "UTC"},
		"patch-tuesday+3 22:00 4h UTC":         {Rule: window.Rule{Kind: window.PatchTuesday, Offset: 3}, Start: "22:00", Duration: four, Zone: "UTC"},
		"  patch-tuesday   22:00   4h0m0s UTC": {Rule: window.Rule{Kind: window.PatchTuesday}, Start: "22:00", Duration: four, Zone: "UTC"},
	} {
		got, err := parseWindow(text)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%q: %v %s", text, err, d)
		}
	}
	for _, text := range []string{
		"", "daily", "daily 22:00", "daily 25:00 4h UTC", "daily 22:00 4 UTC", "someday 22:00 4h UTC", "6th-tue 22:00 4h UTC", "daily+1 22:00 4h UTC",
		"sat 22:00 4h Mars/Base", "patch-tuesday+x 22:00 4h", "sat 22:00 4h UTC more", "sat,sat 22:00 4h UTC", "sat 22:00 -4h UTC",
	} {
		if _, err := parseWindow(text); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseFreeze(t *testing.T) {
	got, err := parseFreeze("2026-12-20T00:00:00Z/2027-01-07T00:00:00+01:00 year end")
	want := window.Freeze{From: time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC), Until: time.Date(2027, 1, 6, 23, 0, 0, 0, time.UTC), Reason: "year end"}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	day, err := parseFreeze("2026-12-20/2027-01-07 year end")
	if err != nil || !day.From.Equal(time.Date(2026, 12, 20, 0, 0, 0, 0, time.Local)) {
		t.Errorf("%v %v", day, err)
	}
	for _, text := range []string{"", "2026-12-20 year end", "2026-12-20/soon year end", "2026-12-20/2027-01-07", "2026-12-20/2027-01-07  "} {
		if _, err := parseFreeze(text); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestScheduleOfFileAndFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.json")
	text := `{"install":[{"rule":{"kind":"daily"},"start":"01:00","duration":"1h","zone":"UTC"}],"freezes":[{"from":"2026-12-20T00:00:00Z","until":"2026-12-21T00:00:00Z","reason":"r"}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := schedule{file: file, windows: []string{"sat 22:00 4h UTC"}, reboots: []string{"sun 02:00 1h UTC"}, freezes: []string{"2027-12-20/2027-12-22 again"}}
	got, err := s.parse()
	if err != nil || len(got.Install) != 2 || len(got.Reboot) != 1 || len(got.Freezes) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []schedule{
		{windows: []string{"x"}}, {reboots: []string{"x"}}, {freezes: []string{"x"}}, {freezes: []string{"2027-12-22/2027-12-20 backwards"}},
	} {
		if _, err := bad.parse(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := (&schedule{file: file + "x"}).parse(); !fault.Is(err, fault.NotFound) {
		t.Errorf("no such file: %v", err)
	}
}

func TestParseRings(t *testing.T) {
	host := func(name string) (string, error) {
		if name == "web1" {
			return "e1", nil
		}
		return "", fault.New(fault.NotFound, "no machine is called %q", name)
	}
	got, err := parseRings([]string{"pilot:test,host=web1:90%:24h", "rest:all"}, host)
	want := []ring{
		{Name: "pilot", Groups: []string{"test"}, Endpoints: []string{"e1"}, Gate: map[string]any{"success_percent": 90, "soak": "24h0m0s"}},
		{Name: "rest", All: true, Gate: map[string]any{}},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	for _, text := range []string{"", "pilot", "pilot:", ":test", "pilot:test:101%", "pilot:test:x%", "pilot:test:soon", "pilot:test:-1h"} {
		if _, err := parseRings([]string{text}, host); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := parseRings([]string{"pilot:host=nobody"}, host); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown host: %v", err)
	}
}
