package cli

import (
	"context"
	"os"
)

// brokenPipe: Windows has no such signal.
var brokenPipe []os.Signal

// stepContext is never done: what Windows tells a step is that some user signs
// out (services and their children hear that, as an end of the program) or that
// the machine goes down. Neither may stop an installation half way; an agent
// that wants a step to end ends its process.
func stepContext(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
