//go:build !windows

package state

import "github.com/fettlehq/fettle/internal/fault"

func markBoot() error { return nil }

// MarkDue is Windows' alone; elsewhere it gives fault.Unsupported.
func MarkDue(string) error {
	return fault.New(fault.Unsupported, "state: marks of a due restart are Windows' alone")
}
