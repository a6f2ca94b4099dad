package repo

import "time"

// Role is one of the four top-level TUF roles.
type Role string

// The roles, from the most to the least guarded key.
const (
	// Root names the keys and thresholds of all roles. Its keys belong offline.
	Root Role = "root"
	// Targets vouches for the files of the repository, that is the catalog.
	Targets Role = "targets"
	// Snapshot vouches for which version of targets is current.
	Snapshot Role = "snapshot"
	// Timestamp vouches for which snapshot is current; it is signed most often.
	Timestamp Role = "timestamp"
)

// Roles returns all roles in the order in which a client verifies them.
func Roles() []Role { return []Role{Root, Timestamp, Snapshot, Targets} }

// Valid reports whether r is one of the four roles.
func (r Role) Valid() bool {
	return r == Root || r == Targets || r == Snapshot || r == Timestamp
}

// Expiry says for how long a freshly signed role is good.
type Expiry struct {
	Root      time.Duration
	Targets   time.Duration
	Snapshot  time.Duration
	Timestamp time.Duration
}

// DefaultExpiry returns the usual life times: root one year, targets 90 days,
// snapshot 14 days, timestamp 2 days. The timestamp's is the longest time for
// which a frozen repository can go unnoticed.
func DefaultExpiry() Expiry {
	const day = 24 * time.Hour
	return Expiry{Root: 365 * day, Targets: 90 * day, Snapshot: 14 * day, Timestamp: 2 * day}
}

// Of returns the life time of a role, or 0 for an unknown role.
func (e Expiry) Of(r Role) time.Duration {
	switch r {
	case Root:
		return e.Root
	case Targets:
		return e.Targets
	case Snapshot:
		return e.Snapshot
	case Timestamp:
		return e.Timestamp
	}
	return 0
}

// OrDefault returns e with every zero or negative life time replaced by the
// default of its role.
func (e Expiry) OrDefault() Expiry {
	d := DefaultExpiry()
	for _, p := range []struct{ have, want *time.Duration }{
		{&e.Root, &d.Root},
		{&e.Targets, &d.Targets},
		{&e.Snapshot, &d.Snapshot},
		{&e.Timestamp, &d.Timestamp},
	} {
		if *p.have <= 0 {
			*p.have = *p.want
		}
	}
	return e
}
