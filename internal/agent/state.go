package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// Dir is the agent's state folder. Only root, on Windows SYSTEM and
// administrators, may read it: it holds the key.
type Dir string

func (d Dir) path(parts ...string) string {
	return filepath.Join(append([]string{string(d)}, parts...)...)
}

func (d Dir) settings() string  { return d.path("agent.json") }
func (d Dir) key() string       { return d.path("identity", "agent.pem") } // certificate and key
func (d Dir) ca() string        { return d.path("identity", "ca.pem") }
func (d Dir) root() string      { return d.path("root.json") }
func (d Dir) repo() string      { return d.path("repo") }
func (d Dir) inventory() string { return d.path("inventory.json") }
func (d Dir) summary() string   { return d.path("summary.json") }
func (d Dir) journal() string   { return d.path("journal.log") }
func (d Dir) payloads() string  { return d.path("payloads") }
func (d Dir) runLock() string   { return d.path("run.lock") }
func (d Dir) stepLock() string  { return d.path("step.lock") }
func (d Dir) syncLock() string  { return d.path("sync.lock") }
func (d Dir) status() string    { return d.path("status.json") }

// Shard is where the verified shard of a platform lies, uncompressed.
func (d Dir) Shard(platform string) string { return d.path("shards", platform+".shard") }

// work is the private folder of one attempt of a task.
func (d Dir) work(id deploy.TaskID) string { return d.path("work", safe(string(id))) }

// make creates the folders that are missing; only the first needs rights of
// its own, the others get them from it.
func (d Dir) make() error {
	err := makePrivate(string(d))
	for _, p := range []string{"identity", "shards", "payloads", "work"} {
		if err == nil {
			err = os.MkdirAll(d.path(p), 0o700)
		}
	}
	if fault.Is(err, fault.Untrusted) {
		return err
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't make the folder %s", string(d)).
			WithHint("run it as root (Windows: as administrator), or name another folder with --state")
	}
	return nil
}

// maxSafe bounds what people can recognise of an id in a file name: whole
// paths stay short enough for every Windows program.
const maxSafe = 24

// safe turns an id from outside into one plain path element. What it shows of
// the id is for people; the hash keeps two ids apart that differ in letters
// that were left out, in case, or behind the end.
func safe(id string) string {
	shown := []byte(strings.ToLower(id[:min(len(id), maxSafe)]))
	for i, c := range shown {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			shown[i] = '_'
		}
	}
	sum := sha256.Sum256([]byte(id))
	return "t-" + string(shown) + "-" + hex.EncodeToString(sum[:12])
}

// Settings are what enrolment left behind: who the agent is and whom it obeys.
type Settings struct {
	Server   string            `json:"server"`
	Proxy    string            `json:"proxy,omitempty"`
	CA       string            `json:"ca"`   // fingerprint of the server's CA
	Root     string            `json:"root"` // fingerprint of the repository's root keys
	Endpoint estate.EndpointID `json:"endpoint"`
	Tenant   estate.TenantID   `json:"tenant"`
	Site     estate.SiteID     `json:"site"`
}

// Settings reads them; fault.NotFound before enrolment.
func (d Dir) Settings() (Settings, error) {
	var s Settings
	err := readJSON(d.settings(), &s)
	if fault.Is(err, fault.NotFound) {
		return s, fault.New(fault.NotFound, "agent: this machine is not enrolled (nothing in %s)", string(d)).
			WithHint("run the line that `fettle enroll-token` prints: fettle-agent enroll URL --token ... --ca ... --root ...")
	}
	return s, err
}

const maxStateFile = 64 << 20

func readJSON(path string, into any) error {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxStateFile {
		return fault.New(fault.Exhausted, "agent: %s has %d bytes, which it never should", path, info.Size())
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(err, fault.NotFound, "agent: there is no %s", path)
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(err, fault.Denied, "agent: may not read %s", path).WithHint("run it as root (Windows: as administrator)")
	case err != nil:
		return fault.Wrap(err, fault.Unavailable, "agent: can't read %s", path)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fault.Wrap(err, fault.Invalid, "agent: %s is damaged", path)
	}
	return nil
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "agent: encode %s", path)
	}
	return atomicfile.Write(path, append(data, '\n'), 0o600)
}

// removeWork removes a task's private folder once the task has ended.
func (d Dir) removeWork(id deploy.TaskID) error {
	if err := atomicfile.RemoveTree(d.work(id)); err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't remove the folder %s", d.work(id))
	}
	return nil
}
