// Command prog prints what buildinfo knows, for the package's test.
package main

import (
	"fmt"

	"github.com/fettlehq/fettle/internal/buildinfo"
)

func main() { fmt.Println(buildinfo.String(), buildinfo.UserAgent("x")) }
