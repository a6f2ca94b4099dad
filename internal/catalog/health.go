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
	Vulnerable       Health = "vulnerable"        // some are (also of a user's own product), or a package is installed only half
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
	if inventory.IsProduct(f.Kind) && f.Product != "" {
		return f.Product
	}
	return f.Package
}

// Installable reports whether a deployment can do something about the finding.
func (f Finding) Installable() bool {
	return !f.Bulletin && (f.State == Missing || f.State == Held || f.State == Broken)
}

// Tally counts what a machine lacks.
type Tally struct {
	Missing   int // findings that count as missing
	Security  int // of them, security updates
	Exploited int // of them, those that fix what CISA lists as exploited
	Bulletins int // of them, those that nothing can be installed from
	// UserOnly findings are about products of single users; UserSecurity of
	// them are of security.
	UserOnly, UserSecurity int
	// Broken names the packages that are installed only half.
	Broken []string
}

// Problem says what stands in the way of a machine without holes: what no
// deployment puts right; "" when nothing does.
func (t Tally) Problem() string {
	var say []string
	switch n := len(t.Broken); {
	case n > 3:
		say = append(say, fmt.Sprintf("%d packages are installed only half: %s and %d more", n, strings.Join(t.Broken[:3], ", "), n-3))
	case n > 0:
		say = append(say, "installed only half: "+strings.Join(t.Broken, ", "))
	}
	if t.Bulletins > 0 {
		say = append(say, fmt.Sprintf("%d of %d missing can't be installed by Fettle (bulletins)", t.Bulletins, t.Missing))
	}
	if t.UserOnly > 0 {
		say = append(say, fmt.Sprintf("%d out of date belong to single users", t.UserOnly))
	}
	return strings.Join(say, "; ")
}

// Count adds findings up and says what they mean for the machine's health.
func Count(findings []Finding) (Tally, Health) {
	var t Tally
	grave := false
	for _, f := range findings {
		if f.State == Broken {
			t.Broken = append(t.Broken, f.Package)
		}
		if f.State == UserOnly {
			t.UserOnly++
			if f.Security {
				t.UserSecurity++
			}
		}
		if !f.Lacks() {
			continue
		}
		t.Missing++
		if f.Bulletin {
			t.Bulletins++
		}
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
	case t.Security > 0 || t.UserSecurity > 0 || len(t.Broken) > 0:
		return t, Vulnerable
	}
	return t, Healthy
}
