// Package all lists every vendor that the publisher can crawl: the one place
// where a new vendor is entered.
package all

import (
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/dotnet"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus/scan"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus/sdp"
	"github.com/fettlehq/fettle/internal/publisher/crawl/winget"
)

// Config says which sources are wanted.
type Config struct {
	// Apt, when set, makes the machine's own apt sources a source; Platform
	// is the machine's release, such as "debian-12".
	Apt      debian.Apt
	Platform string
	// Archives are suites of archives that the configuration names.
	Archives []debian.Config
	// DebianTracker and DebianDSA are the addresses of Debian's security
	// tracker and advisory list; empty leaves them out.
	DebianTracker, DebianDSA string
	// Microsoft, when set, makes Microsoft a source.
	Microsoft *microsoft.Config
	// Scan, when set, makes Microsoft's offline scan file a source.
	Scan *scan.Config
	// Dotnet, when set, makes the releases of .NET a source.
	Dotnet *dotnet.Config
	// SDP are hardware makers' catalogs.
	SDP []sdp.Config
	// Winget, when set, makes a repository of application manifests a source.
	Winget *winget.Config
	// Client fetches archives that apt does not, Feeds what trackers say.
	Client, Feeds crawl.Client
	// Options are common to the sources of package archives.
	Options debian.Options
	// Progress is told what a source does.
	Progress func(source, doing string)
}

// Sources makes the sources of a configuration, in a fixed order. It returns
// fault.Invalid for a configuration that can't work.
func Sources(cfg Config) ([]crawl.Source, error) {
	var out []crawl.Source
	options := func(source string) debian.Options {
		o := cfg.Options
		if cfg.Progress != nil {
			o.Progress = func(doing string) { cfg.Progress(source, doing) }
		}
		return o
	}
	if cfg.Apt != nil {
		out = append(out, debian.NewMachine(cfg.Apt, cfg.Platform, options("apt")))
	}
	for _, a := range cfg.Archives {
		s, err := debian.NewArchive(a, cfg.Client, options(a.Name))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if cfg.DebianTracker != "" {
		out = append(out, &crawl.Document{ID: "debian-tracker", URL: cfg.DebianTracker, Client: cfg.Feeds, Read: debian.ParseTracker})
	}
	if cfg.DebianDSA != "" {
		out = append(out, &crawl.Document{ID: "debian-dsa", URL: cfg.DebianDSA, Client: cfg.Feeds, Read: debian.ParseDSA})
	}
	if cfg.Microsoft != nil {
		m := *cfg.Microsoft
		if cfg.Progress != nil {
			m.Progress = func(doing string) { cfg.Progress("microsoft", doing) }
		}
		s, err := microsoft.New(m, cfg.Client)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if cfg.Scan != nil {
		c := *cfg.Scan
		if cfg.Progress != nil {
			c.Progress = func(doing string) { cfg.Progress("wsusscn2", doing) }
		}
		s, err := scan.New(c, cfg.Client)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if cfg.Dotnet != nil {
		s, err := dotnet.New(*cfg.Dotnet, cfg.Client)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	for _, c := range cfg.SDP {
		s, err := sdp.New(c, cfg.Client)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if cfg.Winget != nil {
		w := *cfg.Winget
		if cfg.Progress != nil {
			w.Progress = func(doing string) { cfg.Progress("winget", doing) }
		}
		s, err := winget.New(w, cfg.Client)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "all: the publisher's configuration names no source").
			WithHint("Set machine: true on a machine that has apt, or name archives.")
	}
	return out, nil
}
