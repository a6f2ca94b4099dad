package catalog

import "testing"

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
