package window

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
)

// at reads an instant such as "2026-03-29T03:00:00+02:00".
func at(t testing.TB, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// nightly is a window that opens every day.
func nightly(zone, start string, d time.Duration) Window {
	return Window{Zone: zone, Rule: Rule{Kind: Daily}, Start: start, Duration: Duration(d)}
}

// TestNext asks for the first few openings after an instant. Each answer is the start and the end, in RFC 3339.
func TestNext(t *testing.T) {
	const berlin, newYork, lordHowe = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
	for name, test := range map[string]struct {
		schedule Schedule
		after    string
		want     []string
	}{
		"crosses midnight": {
			Schedule{Install: []Window{nightly(berlin, "22:00", 4*time.Hour)}},
			"2026-06-10T01:00:00+02:00",
			[]string{"2026-06-10T01:00:00+02:00 2026-06-10T02:00:00+02:00", "2026-06-10T22:00:00+02:00 2026-06-11T02:00:00+02:00"},
		},
		"several a week": {
			Schedule{Install: []Window{{Zone: berlin, Rule: Rule{Kind: Weekly, Days: []Day{"sun", "wed"}}, Start: "20:00", Duration: Duration(2 * time.Hour)}}},
			"2026-06-10T23:00:00+02:00", // A Wednesday.
			[]string{"2026-06-14T20:00:00+02:00 2026-06-14T22:00:00+02:00", "2026-06-17T20:00:00+02:00 2026-06-17T22:00:00+02:00"},
		},
		"patch Tuesday": {
			Schedule{Install: []Window{{Rule: Rule{Kind: PatchTuesday}, Start: "18:00", Duration: Duration(time.Hour)}}},
			"2026-01-01T00:00:00Z",
			[]string{"2026-01-13T18:00:00Z 2026-01-13T19:00:00Z", "2026-02-10T18:00:00Z 2026-02-10T19:00:00Z", "2026-03-10T18:00:00Z 2026-03-10T19:00:00Z"},
		},
		"patch Tuesday and 24 days leads into the next month": {
			Schedule{Install: []Window{{Rule: Rule{Kind: PatchTuesday, Offset: 24}, Start: "00:00", Duration: Duration(time.Hour)}}},
			"2026-02-01T00:00:00Z", // January's: the 13th and 24 days.
			[]string{"2026-02-06T00:00:00Z 2026-02-06T01:00:00Z", "2026-03-06T00:00:00Z 2026-03-06T01:00:00Z"},
		},
		"two days before the first Monday may lie in the month before": {
			Schedule{Install: []Window{{Rule: Rule{Kind: Monthly, Days: []Day{"mon"}, Nth: 1, Offset: -2}, Start: "12:00", Duration: Duration(time.Hour)}}},
			"2026-05-15T00:00:00Z", // 1 June 2026 is a Monday.
			[]string{"2026-05-30T12:00:00Z 2026-05-30T13:00:00Z", "2026-07-04T12:00:00Z 2026-07-04T13:00:00Z"},
		},
		"last Friday": {
			Schedule{Install: []Window{{Rule: Rule{Kind: Monthly, Days: []Day{"fri"}, Nth: -1}, Start: "22:00", Duration: Duration(6 * time.Hour)}}},
			"2026-02-28T04:00:00Z",
			[]string{"2026-03-27T22:00:00Z 2026-03-28T04:00:00Z", "2026-04-24T22:00:00Z 2026-04-25T04:00:00Z"},
		},
		"a quarter has months without a fifth Sunday": {
			Schedule{Install: []Window{{Rule: Rule{Kind: Monthly, Days: []Day{"sun"}, Nth: 5, Months: []time.Month{3, 6, 9, 12}}, Start: "03:00", Duration: Duration(time.Hour)}}},
			"2026-01-01T00:00:00Z",
			[]string{"2026-03-29T03:00:00Z 2026-03-29T04:00:00Z", "2028-12-31T03:00:00Z 2028-12-31T04:00:00Z"},
		},
		"the rarest rule skips 40 years": {
			Schedule{Install: []Window{{Rule: Rule{Kind: Monthly, Days: []Day{"thu"}, Nth: 5, Months: []time.Month{2}}, Start: "00:00", Duration: Duration(time.Hour)}}},
			"2080-01-01T00:00:00Z",
			[]string{"2080-02-29T00:00:00Z 2080-02-29T01:00:00Z", "2120-02-29T00:00:00Z 2120-02-29T01:00:00Z"},
		},
		"gap in Berlin: 02:30 does not exist, the window opens at 03:00": {
			Schedule{Install: []Window{nightly(berlin, "02:30", time.Hour)}},
			"2026-03-28T12:00:00+01:00",
			[]string{"2026-03-29T03:00:00+02:00 2026-03-29T04:00:00+02:00", "2026-03-30T02:30:00+02:00 2026-03-30T03:30:00+02:00"},
		},
		"overlap in Berlin: 02:30 exists twice, the window opens at the first, once": {
			Schedule{Install: []Window{nightly(berlin, "02:30", 30*time.Minute)}},
			"2026-10-24T12:00:00+02:00",
			[]string{"2026-10-25T02:30:00+02:00 2026-10-25T02:00:00+01:00", "2026-10-26T02:30:00+01:00 2026-10-26T03:00:00+01:00"},
		},
		"a duration is elapsed time: four hours over the gap end at 03:00": {
			Schedule{Install: []Window{nightly(newYork, "22:00", 4*time.Hour)}},
			"2026-03-07T12:00:00-05:00",
			[]string{"2026-03-07T22:00:00-05:00 2026-03-08T03:00:00-04:00"},
		},
		"gap in New York": {
			Schedule{Install: []Window{nightly(newYork, "02:30", time.Hour)}},
			"2026-03-08T00:00:00-05:00",
			[]string{"2026-03-08T03:00:00-04:00 2026-03-08T04:00:00-04:00"},
		},
		"gap of half an hour on Lord Howe": {
			Schedule{Install: []Window{nightly(lordHowe, "02:15", time.Hour)}},
			"2026-10-03T12:00:00+10:30",
			[]string{"2026-10-04T02:30:00+11:00 2026-10-04T03:30:00+11:00"},
		},
		"overlap of half an hour on Lord Howe": {
			Schedule{Install: []Window{nightly(lordHowe, "01:45", 15*time.Minute)}},
			"2026-04-05T00:00:00+11:00",
			[]string{"2026-04-05T01:45:00+11:00 2026-04-05T01:30:00+10:30", "2026-04-06T01:45:00+10:30 2026-04-06T02:00:00+10:30"},
		},
		"a day that did not exist: Samoa had no 30 December 2011": {
			Schedule{Install: []Window{nightly("Pacific/Apia", "12:00", time.Hour)}},
			"2011-12-29T13:30:00-10:00",
			[]string{"2011-12-31T00:00:00+14:00 2011-12-31T01:00:00+14:00", "2011-12-31T12:00:00+14:00 2011-12-31T13:00:00+14:00"},
		},
		"windows that touch or overlap are one": {
			Schedule{Install: []Window{nightly("", "01:00", time.Hour), nightly("", "02:00", time.Hour), nightly("", "02:30", 3*time.Hour)}},
			"2026-06-10T00:00:00Z",
			[]string{"2026-06-10T01:00:00Z 2026-06-10T05:30:00Z"},
		},
		"a freeze cuts, swallows and delays": {
			Schedule{
				Install: []Window{nightly("", "22:00", 4*time.Hour)},
				Freezes: []Freeze{
					{From: at(t, "2026-06-11T00:30:00Z"), Until: at(t, "2026-06-12T10:00:00Z")},
					{From: at(t, "2026-06-12T09:00:00Z"), Until: at(t, "2026-06-12T23:00:00Z")},
				},
			},
			"2026-06-10T12:00:00Z",
			[]string{"2026-06-10T22:00:00Z 2026-06-11T00:30:00Z", "2026-06-12T23:00:00Z 2026-06-13T02:00:00Z"},
		},
		"a freeze within a freeze does not end it": {
			Schedule{Freezes: []Freeze{
				{From: at(t, "2026-12-20T00:00:00Z"), Until: at(t, "2027-01-02T00:00:00Z")},
				{From: at(t, "2026-12-24T00:00:00Z"), Until: at(t, "2026-12-27T00:00:00Z")},
			}},
			"2026-12-21T00:00:00Z",
			[]string{"2027-01-02T00:00:00Z never"},
		},
		"no windows, one freeze": {
			Schedule{Freezes: []Freeze{{From: at(t, "2026-12-20T00:00:00Z"), Until: at(t, "2027-01-02T00:00:00Z")}}},
			"2026-06-10T00:00:00Z",
			[]string{"2026-06-10T00:00:00Z 2026-12-20T00:00:00Z", "2027-01-02T00:00:00Z never"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.schedule.Validate(); err != nil {
				t.Fatal(err)
			}
			after := at(t, test.after)
			var got, want []string
			for _, line := range test.want {
				from, until, ok := test.schedule.Next(after)
				if !ok {
					got = append(got, "nothing")
					break
				}
				got = append(got, utc(from)+" "+utc(until))
				start, end, _ := strings.Cut(line, " ")
				if end != "never" {
					end = utc(at(t, end))
				}
				want = append(want, utc(at(t, start))+" "+end)
				after = until
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// utc writes an instant, and "never" for the zero time.
func utc(when time.Time) string {
	if when.IsZero() {
		return "never"
	}
	return when.UTC().Format(time.RFC3339)
}

func TestOpen(t *testing.T) {
	night := Schedule{
		Install: []Window{nightly("Europe/Berlin", "22:00", 4*time.Hour)},
		Reboot:  []Window{nightly("Europe/Berlin", "03:00", time.Hour)},
	}
	unfit := Schedule{Install: []Window{{Start: "25:00"}}}
	type answer struct {
		Open  bool
		Until string
	}
	for name, test := range map[string]struct {
		ask  func(time.Time) (bool, time.Time)
		now  string
		want answer
	}{
		"empty is open for ever":          {Schedule{}.Open, "2026-06-10T12:00:00Z", answer{true, "never"}},
		"empty reboots at any time":       {Schedule{}.OpenReboot, "2026-06-10T12:00:00Z", answer{true, "never"}},
		"closed says when it opens":       {night.Open, "2026-06-10T12:00:00Z", answer{false, "2026-06-10T20:00:00Z"}},
		"the first instant is open":       {night.Open, "2026-06-10T20:00:00Z", answer{true, "2026-06-11T00:00:00Z"}},
		"the last instant is closed":      {night.Open, "2026-06-11T00:00:00Z", answer{false, "2026-06-11T20:00:00Z"}},
		"reboot apart from install":       {night.OpenReboot, "2026-06-11T00:00:00Z", answer{false, "2026-06-11T01:00:00Z"}},
		"open for reboot":                 {night.OpenReboot, "2026-06-11T01:30:00Z", answer{true, "2026-06-11T02:00:00Z"}},
		"no reboot windows: with install": {Schedule{Install: night.Install}.OpenReboot, "2026-06-10T12:00:00Z", answer{false, "2026-06-10T20:00:00Z"}},
		"not valid: closed for ever":      {unfit.Open, "2026-06-10T12:00:00Z", answer{false, "never"}},
		"not valid: no reboot either":     {unfit.OpenReboot, "2026-06-10T12:00:00Z", answer{false, "never"}},
	} {
		open, until := test.ask(at(t, test.now))
		if diff := cmp.Diff(test.want, answer{open, utc(until)}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, _, ok := unfit.Next(at(t, "2026-06-10T12:00:00Z")); ok {
		t.Error("a schedule that is not valid has a next window")
	}
	if from, until, ok := night.NextReboot(at(t, "2026-06-10T12:00:00Z")); !ok || utc(from)+utc(until) != "2026-06-11T01:00:00Z2026-06-11T02:00:00Z" {
		t.Errorf("NextReboot: %v %v %v", from, until, ok)
	}
}

// TestOpenWithoutEnd: windows that touch for ever are reported as open for about a month, and the answer comes.
func TestOpenWithoutEnd(t *testing.T) {
	now := at(t, "2026-06-10T12:00:00Z")
	open, until := Schedule{Install: []Window{nightly("", "00:00", 24*time.Hour)}}.Open(now)
	if !open || until.Sub(now) < horizon || until.Sub(now) > horizon+MaxDuration {
		t.Errorf("open %v until %v", open, until)
	}
}

// TestManyWindows: the largest schedule, each window touching the next without end, is answered in a moment: each window is
// looked up about once a day until the horizon, and each look-up allocates its month's dates.
func TestManyWindows(t *testing.T) {
	var s Schedule
	for i := range MaxWindows {
		start := time.Unix(0, 0).UTC().Add(time.Duration(MaxWindows-1-i) * 15 * time.Minute)
		s.Install = append(s.Install, nightly("Australia/Lord_Howe", start.Format("15:04"), 16*time.Minute))
	}
	now := at(t, "2026-06-10T12:00:00Z")
	allocated := testing.AllocsPerRun(1, func() {
		if open, _ := s.Open(now); !open {
			t.Error("closed")
		}
	})
	if allocated > 100_000 { // each window looked up at the end of each: 100 times as many
		t.Errorf("%v allocations", allocated)
	}
}

func TestInZone(t *testing.T) {
	s := Schedule{Install: []Window{nightly("", "12:00", time.Hour), nightly("UTC", "12:00", time.Hour)}}
	got := s.InZone("Asia/Tokyo")
	if got.Install[0].Zone != "Asia/Tokyo" || got.Install[1].Zone != "UTC" || s.Install[0].Zone != "" {
		t.Errorf("got %+v, original %+v", got.Install, s.Install)
	}
}

func TestValidate(t *testing.T) {
	good := Window{Zone: "Europe/Berlin", Rule: Rule{Kind: Weekly, Days: []Day{"sat"}}, Start: "22:00", Duration: Duration(time.Hour)}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Window){
		`zone "Local"`:                          func(w *Window) { w.Zone = "Local" },
		"unknown time zone Mars/Base":           func(w *Window) { w.Zone = "Mars/Base" },
		"zone":                                  func(w *Window) { w.Zone = "../../etc/passwd" },
		`start "24:00"`:                         func(w *Window) { w.Start = "24:00" },
		`start "9:00"`:                          func(w *Window) { w.Start = "9:00" },
		`start ""`:                              func(w *Window) { w.Start = "" },
		"duration 0s":                           func(w *Window) { w.Duration = 0 },
		"duration -1h":                          func(w *Window) { w.Duration = Duration(-time.Hour) },
		"duration 673h":                         func(w *Window) { w.Duration = Duration(673 * time.Hour) },
		`rule.kind ""`:                          func(w *Window) { w.Rule = Rule{} },
		`rule.days: a weekly rule has 0`:        func(w *Window) { w.Rule.Days = nil },
		`rule.days: a daily rule has 1`:         func(w *Window) { w.Rule.Kind = Daily },
		`rule.days: "Saturday"`:                 func(w *Window) { w.Rule.Days = []Day{"Saturday"} },
		"rule.days: sat is named twice":         func(w *Window) { w.Rule.Days = []Day{"sat", "sat"} },
		"rule.nth: a weekly rule has none":      func(w *Window) { w.Rule.Nth = 1 },
		"rule.nth 0":                            func(w *Window) { w.Rule.Kind = Monthly },
		"rule.nth 6":                            func(w *Window) { w.Rule.Kind, w.Rule.Nth = Monthly, 6 },
		"rule.offset: a weekly rule has none":   func(w *Window) { w.Rule.Offset = 1 },
		"rule.offset 28":                        func(w *Window) { w.Rule = Rule{Kind: PatchTuesday, Offset: 28} },
		"rule.months: 13":                       func(w *Window) { w.Rule.Months = []time.Month{13} },
		"rule.months: 3 is named twice":         func(w *Window) { w.Rule.Months = []time.Month{3, 3} },
		"rule.days: a patch-tuesday rule has 1": func(w *Window) { w.Rule.Kind = PatchTuesday },
	} {
		w := good
		spoil(&w)
		err := Schedule{Reboot: []Window{good, w}}.Validate()
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "reboot[1]: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if err := w.Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: the window alone: %v", want, err)
		}
	}
	now := at(t, "2026-06-10T12:00:00Z")
	for want, s := range map[string]Schedule{
		"freezes[0]: until":          {Freezes: []Freeze{{From: now, Until: now}}},
		"101 windows in install":     {Install: make([]Window, 101)},
		"1001 freezes":               {Freezes: make([]Freeze, 1001)},
		"install[0]: rule.kind":      {Install: make([]Window, 2)},
		"; install[1]: rule.kind \"": {Install: make([]Window, 2)},
	} {
		if err := s.Validate(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestGolden guards the file, wire and API form: it may grow, it may not change.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "schedule.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s Schedule
	strict := json.NewDecoder(bytes.NewReader(want))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&s); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(fullSchedule(t), s); diff != "" {
		t.Error(diff)
	}
	if empty, err := json.Marshal(Schedule{}); err != nil || string(empty) != "{}" {
		t.Errorf("the empty schedule is %s, %v", empty, err)
	}
}

// fullSchedule sets every field at least once.
func fullSchedule(t testing.TB) Schedule {
	return Schedule{
		Install: []Window{
			{Name: "weekend", Zone: "Europe/Berlin", Rule: Rule{Kind: Weekly, Days: []Day{"sat", "sun"}}, Start: "22:00", Duration: Duration(4 * time.Hour)},
			{Name: "pilot", Zone: "America/New_York", Rule: Rule{Kind: PatchTuesday, Offset: 3}, Start: "18:30", Duration: Duration(90 * time.Minute)},
			{Name: "quarter", Rule: Rule{Kind: Monthly, Days: []Day{"sun"}, Nth: -1, Months: []time.Month{3, 6, 9, 12}}, Start: "03:00", Duration: Duration(6 * time.Hour)},
		},
		Reboot:  []Window{{Rule: Rule{Kind: Daily}, Start: "04:00", Duration: Duration(time.Hour)}},
		Freezes: []Freeze{{From: at(t, "2026-12-20T00:00:00+01:00"), Until: at(t, "2027-01-02T00:00:00+01:00"), Reason: "year's end"}},
	}
}
