package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Policy is the content of the file in which the administrator of the machine
// limits what a server may order; it wins over the server. The zero Policy
// allows everything that the signed catalog holds.
type Policy struct {
	// RefusePatches are globs (path.Match, but that "*" matches "/" too) over
	// patch ids; a match is never installed.
	RefusePatches []string `json:"refuse_patches,omitempty"`
	// AllowInstall, AllowRollback and AllowReboot default to true.
	AllowInstall  *bool `json:"allow_install,omitempty"`
	AllowRollback *bool `json:"allow_rollback,omitempty"`
	AllowReboot   *bool `json:"allow_reboot,omitempty"`
	// AllowAnswers defaults to true; false keeps back what the machine itself
	// would say to the catalog's tests: what files, registry values and devices
	// it has. The server then does not know what depends on them.
	AllowAnswers *bool `json:"allow_answers,omitempty"`
	// RebootCommand is the argv that restarts the machine in place of the
	// system's own.
	RebootCommand []string `json:"reboot_command,omitempty"`
	// MaxReboots is how often the agent may restart the machine within a
	// day; 0 means schedule.MaxReboots.
	MaxReboots int `json:"max_reboots,omitempty"`
}

// maxPolicy bounds the file in bytes.
const maxPolicy = 1 << 20

// loadPolicy reads the file. None means no limits; a damaged one, one with a
// field that this agent does not know, and one that others than the
// administrator may write are errors, because a limit that is not understood
// must not be ignored.
func loadPolicy(file string) (Policy, error) {
	f, err := openShared(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Policy{}, nil
	}
	var p Policy
	if err == nil {
		p, err = readPolicy(f)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return Policy{}, fault.Wrap(err, fault.Denied, "agent: the policy file %s can't be used, so nothing is changed on this machine: %s", file, unjoin(err)).
			WithHint("correct the file; an empty object {} allows everything that the signed catalog holds")
	}
	for _, glob := range p.RefusePatches {
		if _, err := path.Match(glob, ""); err != nil {
			return Policy{}, fault.Wrap(err, fault.Denied, "agent: the policy file %s holds the bad pattern %q, so nothing is changed on this machine", file, glob)
		}
	}
	return p, nil
}

func readPolicy(f *os.File) (p Policy, err error) {
	if err := administered(f); err != nil {
		return p, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPolicy+1))
	if err != nil {
		return p, err
	}
	if len(text) > maxPolicy {
		return p, fault.New(fault.Invalid, "it has more than %d bytes", maxPolicy)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return Policy{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Policy{}, fault.New(fault.Invalid, "there is something after its end")
	}
	return p, nil
}

// may returns a Denied fault when the machine's policy refuses the operation
// on one of the patches.
func (p Policy) may(op deploy.Operation, refs []deploy.PatchRef) error {
	switch {
	case op != deploy.Install && op != deploy.Rollback: // whatever a newer server means by it, it is not to install
		return fault.New(fault.Unsupported, "this agent knows no operation %.40q", string(op)).WithHint("update the agent")
	case p.AllowInstall != nil && !*p.AllowInstall:
		return fault.New(fault.Denied, "this machine's policy does not allow installations (allow_install)")
	case op == deploy.Rollback && p.AllowRollback != nil && !*p.AllowRollback:
		return fault.New(fault.Denied, "this machine's policy does not allow to take patches back (allow_rollback)")
	case op == deploy.Rollback:
		return nil // what is refused is to have a patch, not to be rid of it
	}
	for _, ref := range refs {
		if err := p.refuses(ref.ID); err != nil {
			return err
		}
	}
	return nil
}

func (p Policy) refuses(id patch.ID) error {
	for _, glob := range p.RefusePatches {
		if ok, _ := path.Match(flat(glob), flat(string(id))); ok {
			return fault.New(fault.Denied, "this machine's policy refuses patch %s (refuse_patches %q)", id, glob)
		}
	}
	return nil
}

func (p Policy) answers() bool { return p.AllowAnswers == nil || *p.AllowAnswers }

// flat takes the meaning of a slash from path.Match.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

func (p Policy) mayReboot() error {
	if p.AllowReboot != nil && !*p.AllowReboot {
		return fault.New(fault.Denied, "this machine's policy does not allow its agent to restart it (allow_reboot)")
	}
	return nil
}
