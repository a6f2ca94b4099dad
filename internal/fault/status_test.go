package fault

import (
	"net/http"
	"testing"
)

// Every code has a status of its own kind, and what comes back without a code
// means what was sent, as far as a status can say it.
func TestStatus(t *testing.T) {
	for code, want := range map[Code]int{
		Invalid: http.StatusUnprocessableEntity, NotFound: http.StatusNotFound, Conflict: http.StatusConflict, Nothing: http.StatusConflict,
		Unauthenticated: http.StatusUnauthorized, Denied: http.StatusForbidden, Untrusted: http.StatusBadGateway,
		Unavailable: http.StatusServiceUnavailable, Cancelled: http.StatusServiceUnavailable, Exhausted: http.StatusTooManyRequests,
		Unsupported: http.StatusNotImplemented, Internal: http.StatusInternalServerError, "new": http.StatusInternalServerError,
	} {
		if got := Status(code); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
		switch code {
		case Nothing, Untrusted, Cancelled, "new": // share another one's status
		default:
			if back := OfStatus(want); back != code {
				t.Errorf("%d comes back as %s, not %s", want, back, code)
			}
		}
	}
	for status, want := range map[int]Code{
		http.StatusOK: "", http.StatusFound: "", http.StatusBadRequest: Invalid, http.StatusGone: NotFound, http.StatusTeapot: Invalid,
		http.StatusProxyAuthRequired: Unavailable, http.StatusRequestTimeout: Unavailable, http.StatusBadGateway: Unavailable,
		http.StatusGatewayTimeout: Unavailable, 599: Unavailable,
	} {
		if got := OfStatus(status); got != want {
			t.Errorf("%d is %q, want %q", status, got, want)
		}
	}
}
