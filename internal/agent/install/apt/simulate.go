package apt

import (
	"bufio"
	"net/url"
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
	instLine = regexp.MustCompile(`^Inst (\S+?)(?::(\S+?))?(?: \[([^\]]+)\])? \((\S+) .*?\[([a-z0-9-]+)\]\)`)
	remvLine = regexp.MustCompile(`^Remv (\S+?)(?::(\S+?))?(?: \[([^\]]+)\])?`)
	uriLine  = regexp.MustCompile(`^'([^']+)' (\S+) (\d+)(?: SHA256:([0-9a-f]{64}))?\s*$`)
	diskLine = regexp.MustCompile(`After this operation, ([\d.,]+) (B|kB|MB|GB) of additional disk space will be used`)
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
		if !ok {
			return nil, fault.New(fault.Untrusted, "apt: %s would come from %s, which is not the verified snapshot", m[2], m[1])
		}
		payloads = append(payloads, patch.Payload{SHA256: m[4], Size: size, Name: rel})
	}
	return payloads, nil
}

// parseDisk returns the bytes that the transaction needs on disk, 0 when it
// frees some or apt does not say.
func parseDisk(out string) int64 {
	m := diskLine.FindStringSubmatch(out)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
	if err != nil {
		return 0
	}
	unit := map[string]float64{"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[m[2]]
	return int64(n * unit)
}
