package apt

import (
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
)

// headSize holds the fields of a Release file that come before its hashes.
const headSize = 2048

// thirdParty names archives that apt has indexes of and whose Release file
// carries another origin than the distribution's: "NodeSource (node.example)".
// Before the first apt update nothing is known and nothing is named.
func thirdParty(t *collect.Tree, distribution string) ([]string, error) {
	const lists = "var/lib/apt/lists"
	names, err := t.Names(lists)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range names {
		if !strings.HasSuffix(n, "_InRelease") && !strings.HasSuffix(n, "_Release") {
			continue
		}
		head, err := t.Head(lists+"/"+n, headSize)
		if err != nil {
			return out, err
		}
		origin := field(string(head), "Origin")
		if strings.EqualFold(origin, distribution) {
			continue
		}
		host, _, _ := strings.Cut(n, "_")
		if origin == "" {
			origin = "unnamed"
		}
		out = append(out, origin+" ("+host+")")
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// field returns a field of a Release file, which OpenPGP may have wrapped.
func field(head, name string) string {
	for line := range strings.SplitSeq(head, "\n") {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}
