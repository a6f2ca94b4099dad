package catalog

import (
	"fmt"
	"strings"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// Health says at a glance how a machine stands.
type Health string

// The health classes. Unknown is never shown as healthy: the machine was not
// scanned yet, or the catalog has nothing for its platform.
const (
	Healthy          Health = "healthy"           // no security update is missing
	Vulnerable       Health = "vulnerable"        // some are, or a package is installed only half
	HighlyVulnerable Health = "highly_vulnerable" // one of them is critical or exploited
	UnknownHealth    Health = "unknown"
)

// Where lets a machine count as healthy only when the catalog covers its
// system: of the others it is known at most what their applications lack.
func (h Health) Where(covered bool) Health {
	if h == Healthy && !covered {
		return UnknownHealth
	}
	return h
}

// Lacks reports whether the finding counts as missing: the vendor has
// something newer that nothing but the machine's own administrator keeps away.
func (f Finding) Lacks() bool { return f.State == Missing || f.State == Held }

// Name is what people know the package by: Windows calls some products by a
// number alone.
func (f Finding) Name() string {
	if f.Kind == inventory.KindProduct && f.Product != "" {
		return f.Product
	}
	return f.Package
}

// Tally counts what a machine lacks.
type Tally struct {
	Missing   int // findings that count as missing
	Security  int // of them, security updates
	Exploited int // of them, those that fix what CISA lists as exploited
	// Broken names the packages that are installed only half.
	Broken []string
}

// Problem says what is wrong with the machine's packages beyond what is
// missing; "" when nothing is.
func (t Tally) Problem() string {
	switch n := len(t.Broken); {
	case n == 0:
		return ""
	case n > 3:
		return fmt.Sprintf("%d packages are installed only half: %s and %d more", n, strings.Join(t.Broken[:3], ", "), n-3)
	}
	return "installed only half: " + strings.Join(t.Broken, ", ")
}

// Count adds findings up and says what they mean for the machine's health.
func Count(findings []Finding) (Tally, Health) {
	var t Tally
	grave := false
	for _, f := range findings {
		if f.State == Broken {
			t.Broken = append(t.Broken, f.Package)
		}
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
	case t.Security > 0 || len(t.Broken) > 0:
		return t, Vulnerable
	}
	return t, Healthy
}
