// Package release reads which operating system this is: os-release(5), the
// distribution's own release file and the host name.
package release

import (
	"context"
	"os"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Collector fills inventory.OS but for its architecture, which is the package
// manager's to say.
func Collector() collect.Collector {
	return collect.Collector{Name: "release", Essential: true, Collect: gather}
}

func gather(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	data, err := t.ReadFile("etc/os-release", 64<<10)
	if err != nil {
		if data, err = t.ReadFile("usr/lib/os-release", 64<<10); err != nil {
			return err
		}
	}
	v := parse(string(data))
	s.OS.Family = "linux"
	s.OS.ID = or(v["ID"], "linux")
	s.OS.Codename = v["VERSION_CODENAME"]
	// Rolling releases have no VERSION_ID; the platform's name needs a word.
	s.OS.Version = or(v["VERSION_ID"], or(s.OS.Codename, "rolling"))
	s.OS.Name = or(v["PRETTY_NAME"], or(v["NAME"], "Linux"))
	s.OS.Build = t.Line("etc/debian_version")
	s.OS.Hostname = hostname(t)
	return nil
}

func hostname(t *collect.Tree) string {
	if t.Live() {
		if h, err := os.Hostname(); err == nil {
			return h
		}
	}
	return t.Line("etc/hostname")
}

// parse reads shell-like assignments; os-release(5) allows no expansion.
func parse(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			out[key] = unquote(value)
		}
	}
	return out
}

func unquote(v string) string {
	if len(v) >= 2 && v[0] == '\'' && v[len(v)-1] == '\'' {
		return v[1 : len(v)-1]
	}
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = v[1 : len(v)-1]
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
