package fault

import "errors"

// The exit codes of Fettle's programs; scripts may rely on them. 2 is also
// what a command line that can't be read ends with.
const (
	ExitOK          = 0
	ExitFailed      = 1 // the work failed, or a check found something
	ExitUsage       = 2 // wrong use: repeating it will not help
	ExitNotFound    = 3 // no such machine, patch, file; not enrolled
	ExitDenied      = 4 // not allowed, or the key is wrong
	ExitUnreachable = 5 // the server, a peer or a package manager's lock can't be had now
	ExitUntrusted   = 6 // a signature, hash, fingerprint or freshness check refused data
	ExitNothing     = 7 // there is nothing to do
)

// ExitCode is what a program ends with after the error: one table for all of
// Fettle. An error that is no fault counts as failed.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	var f *Error
	if !errors.As(err, &f) {
		return ExitFailed
	}
	switch f.Code {
	case Invalid:
		return ExitUsage
	case NotFound:
		return ExitNotFound
	case Denied, Unauthenticated:
		return ExitDenied
	case Unavailable:
		return ExitUnreachable
	case Untrusted:
		return ExitUntrusted
	case Nothing:
		return ExitNothing
	case Conflict, Exhausted, Unsupported, Cancelled, Internal:
	}
	return ExitFailed
}
