//go:build !linux

package apt

import "errors"

// lockHolder finds no lock: apt exists on Linux alone.
func lockHolder(string) (pid string, locked bool) { return "", false }

// freeBytes is not known elsewhere.
func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
