package api

import "github.com/fettlehq/fettle/internal/catalog"

// Standing says what can be done about a finding; every finding has one.
type Standing string

// The standings.
const (
	Installable   Standing = "installable" // a deployment installs it
	HeldBack      Standing = "held"        // the machine's administrator holds the package
	HalfInstalled Standing = "broken"      // a deployment that names it tries again
	BulletinOnly  Standing = "bulletin"    // nothing can be installed from it
	OfOneUser     Standing = "user_only"   // left to the users who have it for themselves
	PinnedAway    Standing = "pinned"      // the machine's preferences keep it away
	NotCertain    Standing = "unknown"     // whether it is missing could not be told
)

// standingOf follows idle: what a deployment would say of the finding.
func standingOf(f catalog.Finding) Standing {
	switch {
	case f.State == catalog.UserOnly:
		return OfOneUser
	case f.Bulletin:
		return BulletinOnly
	case f.State == catalog.Missing:
		return Installable
	}
	return Standing(f.State)
}

// anyState lists the states in which a machine may have to do with a patch.
func anyState() []catalog.FindingState {
	return []catalog.FindingState{catalog.Missing, catalog.Held, catalog.Broken, catalog.Unsure, catalog.Pinned, catalog.UserOnly}
}
