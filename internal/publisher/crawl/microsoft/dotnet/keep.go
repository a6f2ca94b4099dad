package dotnet

import (
	"io"
	"slices"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// keep folds a channel and files it.
func keep(dir string, st *state, r io.Reader, version, seen string) error {
	c, err := ParseChannel(r)
	if err != nil {
		return err
	}
	if c.Version != version {
		return fault.New(fault.Invalid, "dotnet: it is channel %s", c.Version)
	}
	sum, err := crawl.Keep(dir, c)
	if err != nil {
		return err
	}
	st.Channels[version] = kept{Seen: seen, SHA256: sum}
	return nil
}

// load reads all channels that are kept, in a fixed order.
func load(dir string, st state) ([]Channel, error) {
	names := make([]string, 0, len(st.Channels))
	for v := range st.Channels {
		names = append(names, v)
	}
	slices.Sort(names)
	var out []Channel
	for _, v := range names {
		var c Channel
		if err := crawl.Load(dir, st.Channels[v].SHA256, &c); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}
