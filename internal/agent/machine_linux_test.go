package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
)

// The kind of machine that is tested on Linux: a fixture tree of Debian.
const (
	platform    = "debian-12-amd64"
	packageKind = "dpkg"
)

func rebootDouble(file string) []string { return []string{"touch", file} }

// set changes a package's version in the fixture.
func (s scripted) set(name, version string) error {
	path := filepath.Join(s.root, "var/lib/dpkg/status")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var out []string
	for stanza := range strings.SplitSeq(string(data), "\n\n") {
		if strings.HasPrefix(stanza, "Package: "+name+"\n") {
			stanza = packageStanza(name, version)
		}
		out = append(out, strings.TrimSpace(stanza))
	}
	return os.WriteFile(path, []byte(strings.Join(out, "\n\n")+"\n"), 0o644)
}

// remove takes a package away.
func (s scripted) remove(name string) error {
	path := filepath.Join(s.root, "var/lib/dpkg/status")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var out []string
	for stanza := range strings.SplitSeq(string(data), "\n\n") {
		if !strings.HasPrefix(stanza, "Package: "+name+"\n") {
			out = append(out, strings.TrimSpace(stanza))
		}
	}
	return os.WriteFile(path, []byte(strings.Join(out, "\n\n")+"\n"), 0o644)
}

func packageStanza(name, version string) string {
	return "Package: " + name + "\nStatus: install ok installed\nArchitecture: amd64\nVersion: " + version + "\n"
}

// newMachine makes a fixture root of a machine that lacks a patch.
func newMachine(t *testing.T) string {
	t.Helper()
	root := tempDir(t)
	for name, text := range map[string]string{
		"etc/os-release":                 "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"etc/hostname":                   "fixture\n",
		"var/lib/dpkg/status":            packageStanza("dpkg", "1.21.22") + "\n" + packageStanza("svc", "1.0") + "\n" + packageStanza("lib", "1:1.0-1"),
		"proc/sys/kernel/random/boot_id": "boot-one\n",
		"proc/sys/kernel/osrelease":      "6.1.0-21-amd64\n",
	} {
		write(t, filepath.Join(root, name), text)
	}
	return root
}

// announce makes sure that the change of the last moment has a newer time
// stamp than the last scan.
func announce(t *testing.T, root string) {
	t.Helper()
	future := time.Now().Add(2 * time.Second)
	check(t, os.Chtimes(filepath.Join(root, "var/lib/dpkg/status"), future, future))
}

// restart makes the machine look as after a restart.
func restart(t *testing.T, root string) {
	t.Helper()
	write(t, filepath.Join(root, "proc/sys/kernel/random/boot_id"), "boot-two\n")
}

// askReboot does what a package's postinst does to ask for a restart.
func (s scripted) askReboot(*deploy.Result) error {
	run := filepath.Join(s.root, "run")
	if err := os.MkdirAll(run, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(run, "reboot-required"), nil, 0o644)
}
