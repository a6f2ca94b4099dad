// Package buildinfo says which build of Fettle this binary is.
//
// A release sets the three variables with
//
//	go build -ldflags "-X github.com/fettlehq/fettle/internal/buildinfo.version=1.2.3 -X ...commit=abc -X ...date=2026-11-21T10:00:00Z"
//
// A plain go build or go install leaves them empty; then the module version and the revision that the go command
// recorded in the binary stand in.
package buildinfo

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker, see the package comment; the -X flag needs variables.
var version, commit, date string

// Info names a build.
type Info struct {
	// Version is the release without "v", such as "1.2.3", or "devel".
	Version string `json:"version"`
	// Commit is the git revision, "" when unknown, with "+dirty" behind it when the tree had changes.
	Commit string `json:"commit,omitempty"`
	// Date is the time of the build or of the commit in RFC 3339, "" when unknown.
	Date string `json:"date,omitempty"`
	// Go is the toolchain, Platform the target such as "linux/amd64".
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Read returns what is known of this binary.
func Read() Info {
	i := Info{Version: version, Commit: commit, Date: date, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if bi, ok := debug.ReadBuildInfo(); ok {
		i.fill(bi)
	}
	if i.Version == "" {
		i.Version = "devel"
	}
	return i
}

// fill completes what the linker left empty from what the go command recorded.
func (i *Info) fill(bi *debug.BuildInfo) {
	if v := bi.Main.Version; i.Version == "" && v != "" && v != "(devel)" {
		i.Version = v
		if v[0] == 'v' {
			i.Version = v[1:]
		}
	}
	set := map[string]string{}
	for _, s := range bi.Settings {
		set[s.Key] = s.Value
	}
	if i.Commit == "" && set["vcs.revision"] != "" {
		i.Commit = set["vcs.revision"]
		if set["vcs.modified"] == "true" {
			i.Commit += "+dirty"
		}
	}
	if i.Date == "" {
		i.Date = set["vcs.time"]
	}
}

// String returns one line for people, such as "1.2.3 (0123456789ab, 2026-11-21T10:00:00Z, go1.26.8 linux/amd64)".
func (i Info) String() string {
	about := ""
	if c := i.Commit; c != "" {
		about = c[:min(len(c), 12)]
		if len(c) > 6 && c[len(c)-6:] == "+dirty" {
			about += "+dirty"
		}
		about += ", "
	}
	if i.Date != "" {
		about += i.Date + ", "
	}
	return fmt.Sprintf("%s (%s%s %s)", i.Version, about, i.Go, i.Platform)
}

// String describes this binary in one line.
func String() string { return Read().String() }

// UserAgent is how this binary names itself to servers that it asks: program/version (+where it comes from).
func UserAgent(program string) string {
	return program + "/" + Read().Version + " (+https://github.com/fettlehq/fettle)"
}
