package agent

import (
	"path"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

// DefaultPolicyFile is where the administrator of the machine limits what a
// server may order. It wins over the server.
const DefaultPolicyFile = "/etc/fettle-agent/policy.json"

// Policy is the content of that file. The zero Policy allows everything that
// the signed catalog holds.
type Policy struct {
	// RefusePatches are globs (path.Match, where "*" does not cross ":" or
	// "/" specially) over patch ids; a match is never installed.
	RefusePatches []string `json:"refuse_patches,omitempty"`
	// AllowInstall and AllowReboot default to true.
	AllowInstall *bool `json:"allow_install,omitempty"`
	AllowReboot  *bool `json:"allow_reboot,omitempty"`
	// MaxReboots is how often the agent may restart the machine within a
	// day; 0 means schedule.MaxReboots.
	MaxReboots int `json:"max_reboots,omitempty"`
}

// loadPolicy reads the file. None means no limits; a damaged one is an error,
// because a limit that is not understood must not be ignored.
func loadPolicy(file string) (Policy, error) {
	var p Policy
	err := readJSON(file, &p)
	if fault.Is(err, fault.NotFound) {
		return Policy{}, nil
	}
	if err != nil {
		return Policy{}, fault.Wrap(err, fault.Denied, "agent: the policy file %s can't be used, so nothing is changed on this machine", file).
			WithHint("correct the file; an empty object {} allows everything that the signed catalog holds")
	}
	for _, glob := range p.RefusePatches {
		if _, err := path.Match(glob, ""); err != nil {
			return Policy{}, fault.Wrap(err, fault.Denied, "agent: the policy file %s holds the bad pattern %q, so nothing is changed on this machine", file, glob)
		}
	}
	return p, nil
}

// mayInstall returns a Denied fault when the machine's policy refuses it.
func (p Policy) mayInstall(refs []deploy.PatchRef) error {
	if p.AllowInstall != nil && !*p.AllowInstall {
		return fault.New(fault.Denied, "this machine's policy does not allow installations (allow_install)")
	}
	for _, ref := range refs {
		for _, glob := range p.RefusePatches {
			if ok, _ := path.Match(glob, string(ref.ID)); ok {
				return fault.New(fault.Denied, "this machine's policy refuses patch %s (refuse_patches %q)", ref.ID, glob)
			}
		}
	}
	return nil
}

func (p Policy) mayReboot() error {
	if p.AllowReboot != nil && !*p.AllowReboot {
		return fault.New(fault.Denied, "this machine's policy does not allow its agent to restart it (allow_reboot)")
	}
	return nil
}
