// Command fettle is everything that an operator runs: the publisher, the
// server, both at once (up), and the command line over the server's API.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/fettlehq/fettle/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr, programs()...))
}
