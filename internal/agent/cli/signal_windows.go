package cli

import "os"

// brokenPipe: Windows has no such signal.
var brokenPipe []os.Signal
