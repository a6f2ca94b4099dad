// Command driver does one thing with Fettle's installers on a Windows host: it
// reads a request in JSON on standard input and writes what came of it. The
// tests of the folder above run it under Wine.
package main

import (
	"os"

	"github.com/fettlehq/fettle/test/wininstall/driver/drive"
)

func main() { os.Exit(drive.Main(os.Stdin, os.Stdout)) }
