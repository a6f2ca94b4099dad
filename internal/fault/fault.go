// Package fault is the one error vocabulary of Fettle.
//
// A fault carries a Code that programs decide on, a message that is safe to
// show to any person, a hint that says what to do next, and the private cause.
// Causes stay in logs; Message and Hint go over the wire and onto screens.
package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Code says what kind of thing went wrong. The set is small and closed:
// callers switch on it, the API maps it to an HTTP status, the CLI to an exit
// code.
type Code string

// The codes. Their texts are part of the wire protocol and of the CLI's
// contract and never change meaning.
const (
	// Invalid means that the input is wrong; repeating it will not help.
	Invalid Code = "invalid"
	// NotFound means that the named thing does not exist, or that the
	// caller may not know that it does.
	NotFound Code = "not_found"
	// Conflict means that the state has moved on or the thing exists already.
	Conflict Code = "conflict"
	// Nothing means that things are as they were asked to be: there is nothing
	// to do.
	Nothing Code = "nothing_to_do"
	// Unauthenticated means that the caller has not proven who it is.
	Unauthenticated Code = "unauthenticated"
	// Denied means that the caller is known and may not do this.
	Denied Code = "denied"
	// Untrusted means that a signature, hash, chain or freshness check
	// refused data. Nothing of that data has been used.
	Untrusted Code = "untrusted"
	// Unavailable means that a peer, file or lock can't be reached now;
	// trying again later may succeed.
	Unavailable Code = "unavailable"
	// Exhausted means that disk, memory, quota or rate is used up.
	Exhausted Code = "exhausted"
	// Unsupported means that this build or machine can't do it.
	Unsupported Code = "unsupported"
	// Cancelled means that a person or a deadline stopped the work.
	Cancelled Code = "cancelled"
	// Internal means a defect in Fettle: an invariant does not hold.
	Internal Code = "internal"
)

// Error is a fault. Create it with New or Wrap.
type Error struct {
	// Code is what programs decide on.
	Code Code `json:"code"`
	// Message says what happened, in words that are safe to show.
	Message string `json:"message"`
	// Hint says what is safe and what to do next. May be empty.
	Hint string `json:"hint,omitempty"`
	// Cause is the private cause; it is never sent anywhere.
	Cause error `json:"-"`
}

// Error returns the message and the cause's text, for logs.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap returns the cause, so that errors.Is and errors.As see it.
func (e *Error) Unwrap() error { return e.Cause }

// WithHint returns a copy of the fault that carries the hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// New returns a fault without a cause. The message is safe to show and starts
// with the room's lower-case name where that helps a log reader.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns a fault with a private cause. When the cause already is a
// fault its hint is kept, so that advice given low down reaches the person.
func Wrap(cause error, code Code, format string, args ...any) *Error {
	e := &Error{Code: code, Message: fmt.Sprintf(format, args...), Cause: cause}
	if inner, ok := errors.AsType[*Error](cause); ok {
		e.Hint = inner.Hint
	}
	return e
}

// CodeOf returns the code of the outermost fault in err's chain, "" for nil,
// and Internal for an error that is no fault.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// Is reports whether err's outermost fault has the code.
func Is(err error, code Code) bool { return err != nil && CodeOf(err) == code }

// Public returns the text that is safe to show: the messages of all faults in
// the chain joined by ": ", without rooms' names and without any private cause
// that is no fault.
// An error that is no fault gives a fixed sentence.
func Public(err error) string {
	parts, _ := messages(err)
	if len(parts) == 0 {
		return "an internal error occurred; the log of the program that you asked names it"
	}
	return strings.Join(parts, ": ")
}

// Whole is Public with the private cause behind it, for the person whose own
// program it is.
func Whole(err error) string {
	parts, cause := messages(err)
	text := strings.Join(parts, ": ")
	if cause == nil {
		return text
	}
	if p, ok := errors.AsType[*fs.PathError](cause); ok && p.Path != "" && strings.Contains(text, p.Path) {
		cause = p.Err // the file is named already
	}
	return strings.TrimPrefix(text+": "+cause.Error(), ": ")
}

// messages are those of all faults in the chain without rooms' names, and the
// cause below them that is no fault.
func messages(err error) (parts []string, cause error) {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return parts, err
		}
		parts = append(parts, withoutRoom(e.Message))
		err = e.Cause
	}
	return parts, nil
}

// withoutRoom cuts the lower-case room's name that a message begins with: it
// helps the reader of a log and nobody else.
func withoutRoom(message string) string {
	room, rest, found := strings.Cut(message, ": ")
	if !found || len(room) > 20 || strings.Trim(room, "abcdefghijklmnopqrstuvwxyz/") != "" {
		return message
	}
	return rest
}

// HintOf returns the hint of the outermost fault in the chain that has one.
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Cause
	}
	return ""
}
