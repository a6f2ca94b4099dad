package fault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
)

var errPrivate = errors.New("password=hunter2 at 10.0.0.7")

func TestCodeOf(t *testing.T) {
	inner := fault.New(fault.NotFound, "no such host")
	for name, tc := range map[string]struct {
		err  error
		want fault.Code
	}{
		"nil":                   {nil, ""},
		"plain":                 {errPrivate, fault.Internal},
		"fault":                 {inner, fault.NotFound},
		"fault in fmt":          {fmt.Errorf("store: %w", inner), fault.NotFound},
		"outermost wins":        {fault.Wrap(inner, fault.Unavailable, "try later"), fault.Unavailable},
		"joined":                {errors.Join(errPrivate, inner), fault.NotFound},
		"wrapped plain":         {fault.Wrap(errPrivate, fault.Denied, "no"), fault.Denied},
		"wrapped nothing":       {fault.Wrap(nil, fault.Invalid, "bad"), fault.Invalid},
		"of the standard's own": {fmt.Errorf("open: %w", fs.ErrNotExist), fault.Internal},
	} {
		if got := fault.CodeOf(tc.err); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
		if tc.err != nil && !fault.Is(tc.err, tc.want) {
			t.Errorf("%s: Is says no", name)
		}
	}
	if fault.Is(nil, "") || fault.Is(nil, fault.Internal) {
		t.Error("nil is a fault")
	}
}

func TestCauses(t *testing.T) {
	err := fault.Wrap(fmt.Errorf("dial: %w", fs.ErrPermission), fault.Unavailable, "the file %s can't be read", "x")
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the cause is lost")
	}
	if got := err.Error(); got != "the file x can't be read: dial: permission denied" {
		t.Errorf("log text %q", got)
	}
	if got := fault.Public(err); got != "the file x can't be read" {
		t.Errorf("public text %q", got)
	}
}

func TestPublicShowsNoCause(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"plain":         {errPrivate, "an internal error occurred; the log of the program that you asked names it"},
		"one":           {fault.Wrap(errPrivate, fault.Denied, "not allowed"), "not allowed"},
		"two":           {fault.Wrap(fault.Wrap(errPrivate, fault.Denied, "inner"), fault.Denied, "outer"), "outer: inner"},
		"plain between": {fault.Wrap(fmt.Errorf("secret: %w", fault.New(fault.Denied, "inner")), fault.Denied, "outer"), "outer: inner"},
		"plain outside": {fmt.Errorf("secret: %w", fault.New(fault.Denied, "inner")), "inner"},
	} {
		got := fault.Public(tc.err)
		if got != tc.want || strings.Contains(got, "secret") || strings.Contains(got, "hunter2") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestHints(t *testing.T) {
	low := fault.New(fault.Denied, "locked").WithHint("ask %s", "ada")
	mid := fault.Wrap(fmt.Errorf("x: %w", low), fault.Unavailable, "not now")
	high := fault.Wrap(mid, fault.Unavailable, "later").WithHint("wait")
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"none":          {fault.New(fault.Denied, "no"), ""},
		"plain":         {errPrivate, ""},
		"nil":           {nil, ""},
		"own":           {low, "ask ada"},
		"kept":          {mid, "ask ada"},
		"outermost":     {high, "wait"},
		"below a blank": {fault.Wrap(fmt.Errorf("y: %w", &fault.Error{Code: fault.Denied, Message: "m", Cause: low}), fault.Denied, "n"), "ask ada"},
	} {
		if got := fault.HintOf(tc.err); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if low2 := low.WithHint("other"); low.Hint != "ask ada" || low2.Hint != "other" {
		t.Error("WithHint changes the original, which others may share")
	}
}

// The codes are part of the wire protocol and of the CLI's contract.
func TestCodesStay(t *testing.T) {
	got := fmt.Sprint([]fault.Code{
		fault.Invalid, fault.NotFound, fault.Conflict, fault.Unauthenticated, fault.Denied, fault.Untrusted,
		fault.Unavailable, fault.Exhausted, fault.Unsupported, fault.Cancelled, fault.Internal,
	})
	if got != "[invalid not_found conflict unauthenticated denied untrusted unavailable exhausted unsupported cancelled internal]" {
		t.Error(got)
	}
}

// Whatever chain of causes: the form that leaves holds nothing private, and
// code and hint are found.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		err := errPrivate
		var messages []string
		hint := ""
		for range rapid.IntRange(1, 5).Draw(t, "depth") {
			if rapid.Bool().Draw(t, "plain") {
				err = fmt.Errorf("hunter2 again: %w", err)
				continue
			}
			m := rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "message")
			f := fault.Wrap(err, fault.Denied, "%s", m)
			if rapid.Bool().Draw(t, "hint?") {
				hint = rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "hint")
				f = f.WithHint("%s", hint)
			}
			messages = append([]string{m}, messages...)
			err = f
		}
		text := fault.Public(err)
		if strings.Contains(text, "hunter2") {
			t.Fatalf("public text %q", text)
		}
		if len(messages) > 0 && text != strings.Join(messages, ": ") {
			t.Fatalf("public text %q, want %v", text, messages)
		}
		if got := fault.HintOf(err); got != hint {
			t.Fatalf("hint %q, want %q", got, hint)
		}
		form, jerr := json.Marshal(err)
		if f := (*fault.Error)(nil); errors.As(err, &f) && errors.Is(err, error(f)) && (jerr != nil || strings.Contains(string(form), "hunter2")) {
			t.Fatalf("the form %s, %v", form, jerr)
		}
	})
}

func TestWhole(t *testing.T) {
	cause := errors.New("disk: full")
	for _, tc := range []struct {
		err  error
		want string
	}{
		{fault.New(fault.Invalid, "server: no repository is named"), "no repository is named"},
		{fault.Wrap(fault.Wrap(cause, fault.Unavailable, "blob: can't write"), fault.Unavailable, "mirror: not synchronised"), "not synchronised: can't write: disk: full"},
		{cause, "disk: full"},
		{fault.Wrap(&fs.PathError{Op: "open", Path: "/a/b", Err: fs.ErrNotExist}, fault.NotFound, "can't open /a/b"), "can't open /a/b: file does not exist"},
		{fault.Wrap(&fs.PathError{Op: "open", Path: "/a/b", Err: fs.ErrNotExist}, fault.NotFound, "no settings"), "no settings: open /a/b: file does not exist"},
	} {
		if got := fault.Whole(tc.err); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}
