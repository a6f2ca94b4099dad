//go:build !linux

package postgres

import "syscall"

// impatient is Linux's: elsewhere the system's own patience counts.
func impatient(string, string, syscall.RawConn) error { return nil }
