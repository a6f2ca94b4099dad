package cli

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/window"
)

// schedule says on the command line when work may be done.
type schedule struct {
	windows, reboots []string
	freezes          []string
	file             string
}

func (s *schedule) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&s.windows, "window", nil, "when to install: 'DAYS START DURATION [ZONE]', such as 'sat,sun 22:00 4h Europe/Berlin'; may be repeated")
	f.StringArrayVar(&s.reboots, "reboot-window", nil, "when to reboot, if not in the windows")
	f.StringArrayVar(&s.freezes, "freeze", nil, "when nothing may happen: 'FROM/UNTIL REASON', such as '2026-12-20/2027-01-07 year end'")
	f.StringVar(&s.file, "schedule", "", "JSON file with windows and freezes: {\"install\":[...],\"reboot\":[...],\"freezes\":[...]}")
}

// parse reads the flags and the file together.
func (s *schedule) parse() (window.Schedule, error) {
	var out window.Schedule
	if s.file != "" {
		text, err := os.ReadFile(s.file)
		if err != nil {
			code := fault.Invalid
			if errors.Is(err, os.ErrNotExist) {
				code = fault.NotFound
			}
			return out, fault.Wrap(err, code, "the schedule can't be read").WithHint("docs/cli.md shows what the file of --schedule holds")
		}
		if err := json.Unmarshal(text, &out); err != nil {
			return out, fault.Wrap(err, fault.Invalid, "%s is no schedule", s.file).WithHint("docs/cli.md shows one")
		}
	}
	for _, text := range s.windows {
		w, err := parseWindow(text)
		if err != nil {
			return out, err
		}
		out.Install = append(out.Install, w)
	}
	for _, text := range s.reboots {
		w, err := parseWindow(text)
		if err != nil {
			return out, err
		}
		out.Reboot = append(out.Reboot, w)
	}
	for _, text := range s.freezes {
		f, err := parseFreeze(text)
		if err != nil {
			return out, err
		}
		out.Freezes = append(out.Freezes, f)
	}
	return out, out.Validate()
}

// parseWindow reads 'DAYS START DURATION [ZONE]'.
func parseWindow(text string) (window.Window, error) {
	bad := fault.New(fault.Invalid, "%q is no window", text).
		WithHint("'DAYS START DURATION [ZONE]', where DAYS is daily, sat,sun, 2nd-tue, last-fri+1 or patch-tuesday+3, such as 'sat,sun 22:00 4h'")
	words := strings.Fields(text)
	if len(words) < 3 || len(words) > 4 {
		return window.Window{}, bad
	}
	rule, ok := parseDays(words[0])
	length, err := time.ParseDuration(words[2])
	if !ok || err != nil {
		return window.Window{}, bad
	}
	w := window.Window{Rule: rule, Start: words[1], Duration: window.Duration(length)}
	if len(words) == 4 {
		w.Zone = words[3]
	} else {
		w.Zone = time.Local.String()
	}
	if w.Zone == "Local" {
		w.Zone = "" // this machine does not know its zone's name: UTC
	}
	if err := w.Validate(); err != nil {
		return w, fault.Wrap(err, fault.Invalid, "%q is no window", text).WithHint("%s", bad.Hint)
	}
	return w, nil
}

// nths are the words for which of a month's days is meant.
var nths = map[string]int{"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "last": -1}

// parseDays reads daily, sat,sun, 2nd-tue[+N] or patch-tuesday[+N].
func parseDays(text string) (window.Rule, bool) {
	base, offset := text, 0
	if at := strings.LastIndexByte(text, '+'); at >= 0 {
		n, err := strconv.Atoi(text[at+1:])
		if err != nil {
			return window.Rule{}, false
		}
		base, offset = text[:at], n
	}
	nth, day, monthly := strings.Cut(base, "-")
	switch {
	case base == string(window.Daily):
		return window.Rule{Kind: window.Daily, Offset: offset}, true
	case base == string(window.PatchTuesday):
		return window.Rule{Kind: window.PatchTuesday, Offset: offset}, true
	case monthly && nths[nth] != 0:
		return window.Rule{Kind: window.Monthly, Nth: nths[nth], Days: days(day), Offset: offset}, true
	case monthly:
		return window.Rule{}, false
	}
	return window.Rule{Kind: window.Weekly, Days: days(base), Offset: offset}, true
}

func days(text string) []window.Day {
	var out []window.Day
	for d := range strings.SplitSeq(text, ",") {
		out = append(out, window.Day(strings.ToLower(d)))
	}
	return out
}

// parseFreeze reads 'FROM/UNTIL REASON'. A day without a time begins at
// midnight here; UNTIL is the first moment after the freeze.
func parseFreeze(text string) (window.Freeze, error) {
	bad := fault.New(fault.Invalid, "%q is no freeze", text).
		WithHint("'FROM/UNTIL REASON' with days or times, such as '2026-12-20/2027-01-07 year end'; UNTIL is the first day after it")
	span, reason, _ := strings.Cut(strings.TrimSpace(text), " ")
	first, last, both := strings.Cut(span, "/")
	from, okFrom := moment(first)
	until, okUntil := moment(last)
	if !both || !okFrom || !okUntil || strings.TrimSpace(reason) == "" {
		return window.Freeze{}, bad
	}
	return window.Freeze{From: from, Until: until, Reason: strings.TrimSpace(reason)}, nil
}

// moment reads a day, a day with a time of this machine's zone, or RFC 3339.
func moment(text string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// ring is the API's form of one.
type ring struct {
	Name      string         `json:"name"`
	Endpoints []string       `json:"endpoints,omitempty"`
	Groups    []string       `json:"groups,omitempty"`
	All       bool           `json:"all,omitempty"`
	Gate      map[string]any `json:"gate,omitempty"`
}

// parseRings reads 'NAME:TARGET,...[:SUCCESS%][:SOAK]'. A target is a group,
// host=NAME or all; host looks a machine's id up.
func parseRings(texts []string, host func(string) (string, error)) ([]ring, error) {
	var out []ring
	for _, text := range texts {
		parts := strings.Split(text, ":")
		if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
			return nil, badRing(text)
		}
		r := ring{Name: parts[0], Gate: map[string]any{}}
		for target := range strings.SplitSeq(parts[1], ",") {
			if err := r.add(target, host); err != nil {
				return nil, err
			}
		}
		for _, p := range parts[2:] {
			if !r.gate(p) {
				return nil, badRing(text)
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func badRing(text string) error {
	return fault.New(fault.Invalid, "%q is no ring", text).
		WithHint("'NAME:TARGET,...[:SUCCESS%%][:SOAK]', where a target is a group, host=NAME or all, such as --ring pilot:test:90%%:24h --ring rest:all")
}

func (r *ring) add(target string, host func(string) (string, error)) error {
	name, isHost := strings.CutPrefix(target, "host=")
	switch {
	case isHost:
		id, err := host(name)
		r.Endpoints = append(r.Endpoints, id)
		return err
	case target == "all":
		r.All = true
	default:
		r.Groups = append(r.Groups, target)
	}
	return nil
}

// gate takes "90%" or a span such as "24h".
func (r *ring) gate(text string) bool {
	if number, ok := strings.CutSuffix(text, "%"); ok {
		n, err := strconv.Atoi(number)
		r.Gate["success_percent"] = n
		return err == nil && n >= 0 && n <= 100
	}
	d, err := time.ParseDuration(text)
	r.Gate["soak"] = d.String()
	return err == nil && d >= 0
}
