//go:build unix

package cli

import (
	"context"
	"os"
	"syscall"
)

// brokenPipe is what the kernel sends to a writer whose reader is gone.
var brokenPipe = []os.Signal{syscall.SIGPIPE}

// stepContext ends a step when its process is asked to.
func stepContext(ctx context.Context) context.Context { return ctx }
