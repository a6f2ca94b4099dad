package catalog

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/patch"
)

// TestCountWhatNobodyInstalls: bulletins are missing and say so; what single
// users have counts apart; both make a machine vulnerable.
func TestCountWhatNobodyInstalls(t *testing.T) {
	for name, tc := range map[string]struct {
		findings []Finding
		tally    Tally
		health   Health
		says     string
	}{
		"nothing": {nil, Tally{}, Healthy, ""},
		"bulletins alone": {
			[]Finding{{State: Missing, Bulletin: true, Security: true}},
			Tally{Missing: 1, Security: 1, Bulletins: 1},
			Vulnerable, "1 of 1 missing can't be installed by Fettle (bulletins)",
		},
		"a critical bulletin": {
			[]Finding{{State: Missing, Bulletin: true, Security: true, Severity: patch.Critical}, {State: Missing}},
			Tally{Missing: 2, Security: 1, Bulletins: 1},
			HighlyVulnerable, "1 of 2 missing can't be installed by Fettle (bulletins)",
		},
		"a bulletin that may not apply": {[]Finding{{State: Unsure, Bulletin: true, Security: true}}, Tally{}, Healthy, ""},
		"a user's own":                  {[]Finding{{State: UserOnly}}, Tally{UserOnly: 1}, Healthy, "1 out of date belong to single users"},
		"a user's own with holes": {
			[]Finding{{State: UserOnly, Security: true}},
			Tally{UserOnly: 1, UserSecurity: 1},
			Vulnerable, "1 out of date belong to single users",
		},
	} {
		tally, health := Count(tc.findings)
		if d := cmp.Diff(tc.tally, tally); d != "" || health != tc.health || tally.Problem() != tc.says {
			t.Errorf("%s: %s, %q %s", name, health, tally.Problem(), d)
		}
	}
}

func TestHealthOfUncoveredSystems(t *testing.T) {
	for health, want := range map[Health]Health{Healthy: UnknownHealth, Vulnerable: Vulnerable, HighlyVulnerable: HighlyVulnerable, UnknownHealth: UnknownHealth} {
		if got := health.Where(false); got != want {
			t.Errorf("%s on an uncovered system is %s, want %s", health, got, want)
		}
		if got := health.Where(true); got != health {
			t.Errorf("%s on a covered system is %s", health, got)
		}
	}
}
