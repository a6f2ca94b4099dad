//go:build !linux

package apt

import "errors"

// lockHolder finds no lock: apt exists on Linux alone.
func lockHolder(string) (pid int, locked bool) { return 0, false }

// freeBytes is not known elsewhere.
func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }

func hasEnv(int, string) bool { return false }

func askToEnd(int) {}

func kill(int) {}
