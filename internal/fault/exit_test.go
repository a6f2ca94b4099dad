package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

func TestExitCode(t *testing.T) {
	for want, errs := range map[int][]error{
		fault.ExitOK:          {nil},
		fault.ExitFailed:      {errors.New("plain"), fault.New(fault.Conflict, "taken"), fault.New(fault.Internal, "defect"), fault.New(fault.Cancelled, "stopped")},
		fault.ExitUsage:       {fault.New(fault.Invalid, "bad flag")},
		fault.ExitNotFound:    {fault.New(fault.NotFound, "nobody"), fmt.Errorf("host: %w", fault.New(fault.NotFound, "nobody"))},
		fault.ExitDenied:      {fault.New(fault.Denied, "no"), fault.New(fault.Unauthenticated, "who")},
		fault.ExitUnreachable: {fault.New(fault.Unavailable, "away")},
		fault.ExitUntrusted:   {fault.New(fault.Untrusted, "flipped")},
		fault.ExitNothing:     {fault.New(fault.Nothing, "all is well")},
	} {
		for _, err := range errs {
			if got := fault.ExitCode(err); got != want {
				t.Errorf("%v: %d, want %d", err, got, want)
			}
		}
	}
}
