package catalog

import "github.com/fettlehq/fettle/internal/patch"

// Health says at a glance how a machine stands.
type Health string

// The health classes. Unknown is never shown as healthy: the machine was not
// scanned yet, or the catalog has nothing for its platform.
const (
	Healthy          Health = "healthy"           // no security update is missing
	Vulnerable       Health = "vulnerable"        // some are
	HighlyVulnerable Health = "highly_vulnerable" // one of them is critical or exploited
	UnknownHealth    Health = "unknown"
)

// Lacks reports whether the finding counts as missing: the vendor has
// something newer that nothing but the machine's own administrator keeps away.
func (f Finding) Lacks() bool { return f.State == Missing || f.State == Held }

// Tally counts what a machine lacks.
type Tally struct {
	Missing   int // findings that count as missing
	Security  int // of them, security updates
	Exploited int // of them, those that fix what CISA lists as exploited
}

// Count adds findings up and says what they mean for the machine's health.
func Count(findings []Finding) (Tally, Health) {
	var t Tally
	grave := false
	for _, f := range findings {
		if !f.Lacks() {
			continue
		}
		t.Missing++
		if f.Security {
			t.Security++
		}
		if f.Exploited {
			t.Exploited++
		}
		grave = grave || f.Exploited || f.Security && f.Severity == patch.Critical
	}
	switch {
	case grave:
		return t, HighlyVulnerable
	case t.Security > 0:
		return t, Vulnerable
	}
	return t, Healthy
}
