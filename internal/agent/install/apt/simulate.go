package apt

import (
	"bufio"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// instLine is apt-get -s: "Inst name[:arch] [old] (new Label:suite [arch])".
// The old version is missing for new packages; apt may append the packages
// that are broken in between.
var (
	instLine = regexp.MustCompile(`^Inst ([^\s:]+)(?::(\S+))?(?: \[([^\]]+)\])? \((\S+) .*?\[([a-z0-9-]+)\]\)`)
	remvLine = regexp.MustCompile(`^Remv ([^\s:]+)(?::(\S+))?(?: \[([^\]]+)\])?`)
	uriLine  = regexp.MustCompile(`^'([^']+)' (\S+) (\d+)(?: SHA256:([0-9a-f]{64}))?\s*$`)
)

// parseSimulation reads the transaction that apt-get -s would make. asked
// names the packages (name:arch) that were asked for.
func parseSimulation(out string, asked map[string]bool) []deploy.Change {
	var changes []deploy.Change
	sc := bufio.NewScanner(strings.NewReader(out))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if m := instLine.FindStringSubmatch(sc.Text()); m != nil {
			c := deploy.Change{Package: m[1], Arch: m[5], From: m[3], To: m[4]}
			switch {
			case asked[m[1]+":"+m[5]]:
				c.Why = "approved"
			case c.From == "":
				c.Why = "new dependency"
			default:
				c.Why = "dependency"
			}
			changes = append(changes, c)
			continue
		}
		if m := remvLine.FindStringSubmatch(sc.Text()); m != nil {
			changes = append(changes, deploy.Change{Package: m[1], Arch: m[2], From: m[3], Why: "removed"})
		}
	}
	return changes
}

// parseURIs reads apt-get --print-uris: the files of the transaction with the
// SHA-256 that the vendor's signed index gives.
func parseURIs(out, archives string) ([]patch.Payload, error) {
	var payloads []patch.Payload
	for line := range strings.Lines(out) {
		m := uriLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		if m[4] == "" {
			return nil, fault.New(fault.Untrusted, "apt: the index gives no SHA-256 for %s", m[2])
		}
		size, err := strconv.ParseInt(m[3], 10, 64)
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "apt: size of %s", m[2])
		}
		u, err := url.Parse(m[1])
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "apt: address of %s", m[2])
		}
		path := u.Path
		if path == "" {
			path = u.Opaque
		}
		rel, ok := strings.CutPrefix(path, archives+"/")
		if !ok || !filepath.IsLocal(rel) {
			return nil, fault.New(fault.Untrusted, "apt: %s would come from %s, which is not the verified snapshot", m[2], m[1])
		}
		payloads = append(payloads, patch.Payload{SHA256: m[4], Size: size, Name: rel})
	}
	return payloads, nil
}

// parsePolicy reads apt-cache policy: the candidate version by name:arch.
// Packages of the native architecture are named without it.
func parsePolicy(out, native string) map[string]string {
	choice, name := map[string]string{}, ""
	for line := range strings.Lines(out) {
		if head, ok := strings.CutSuffix(strings.TrimRight(line, "\n"), ":"); ok && !strings.HasPrefix(head, " ") {
			if name = head; !strings.Contains(name, ":") {
				name += ":" + native
			}
			continue
		}
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); ok && name != "" && v != "(none)" {
			choice[name] = v
		}
	}
	return choice
}

// parseSizes reads apt-cache show: the bytes that a package's files take on
// the disk, by "name arch version". Installed-Size is in KiB (Debian Policy
// 5.6.20); where it is missing or beyond reason, the packed size stands in.
func parseSizes(out string) map[string]int64 {
	sizes := map[string]int64{}
	for stanza := range strings.SplitSeq(out, "\n\n") {
		field := map[string]string{}
		for line := range strings.Lines(stanza) {
			if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
				field[name] = strings.TrimSpace(value)
			}
		}
		if field["Package"] == "" {
			continue
		}
		size := max(number(field["Size"]), number(field["Installed-Size"])*1024)
		sizes[field["Package"]+" "+field["Architecture"]+" "+field["Version"]] = size
	}
	return sizes
}

// number is a decimal number of at most a terabyte, 0 for anything else.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return 0
	}
	return n
}

// unmet collects the lines in which apt says whose dependency is missing.
func unmet(out string) string {
	_, rest, found := strings.Cut(out, "The following packages have unmet dependencies:")
	if !found {
		return ""
	}
	var parts []string
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, " ") {
			if len(parts) > 0 {
				break
			}
			continue
		}
		parts = append(parts, strings.Join(strings.Fields(line), " "))
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ", ") + "; "
}

// removals says what apt would remove.
func removals(out string) string {
	var names []string
	for line := range strings.Lines(out) {
		if m := remvLine.FindStringSubmatch(line); m != nil {
			names = append(names, m[1])
		}
	}
	if _, rest, found := strings.Cut(out, "The following packages will be REMOVED:"); found && len(names) == 0 {
		for line := range strings.Lines(rest) {
			if fields := strings.Fields(line); strings.HasPrefix(line, " ") {
				names = append(names, fields...)
			} else if len(names) > 0 {
				break
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "it would remove " + strings.Join(names, ", ") + "; "
}
