//go:build unix

package cli

import (
	"os"
	"syscall"
)

// brokenPipe is what the kernel sends to a writer whose reader is gone.
var brokenPipe = []os.Signal{syscall.SIGPIPE}
