// Command fettle-agent runs on an endpoint: it tells what the machine lacks
// and brings it level.
package main

import (
	"os"

	"github.com/fettlehq/fettle/internal/agent/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
