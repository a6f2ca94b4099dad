package agent

import (
	"context"

	"github.com/fettlehq/fettle/internal/fault"
)

// lock is not built for Windows yet, and neither is what needs it.
func lock(context.Context, string) (func(), error) {
	return nil, fault.New(fault.Unsupported, "agent: running on Windows is not built yet")
}
