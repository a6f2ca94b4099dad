package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Case is one way in which patching a Debian machine can go, as packages to
// patch. [Scenario] lists them all.
type Case struct {
	// Package is the binary package to be patched; every case has its own.
	Package string
	// Suite is where the new version appears.
	Suite string
	// Old is what the machine has at first; New is what the archive then adds.
	Old, New []Package
	// Setup are commands that run on the machine once Old is installed.
	Setup [][]string
	// Listed says that `apt list --upgradable` names the package.
	Listed bool
	// Installs says that a plain upgrade to New is possible: it is not held
	// and no script fails.
	Installs bool
	// Brings names packages that are not on the machine and come along.
	Brings []string
	// Restart is the unit that runs old code afterwards.
	Restart string
	// Reboot says that the machine wants a reboot afterwards.
	Reboot bool
	// Fails is a part of what the failing script prints.
	Fails string
}

// Every package of the scenario goes from OldVersion to NewVersion.
const (
	OldVersion = "1.0-1"
	NewVersion = "1.0-1+deb12u1"
)

// Security reports whether the new version is a security update.
func (c Case) Security() bool { return c.Suite == SecuritySuite }

// Scenario builds every case that patching must cope with: a service, a
// library in use, a reboot trigger, a new dependency, a changed conffile, a
// failing postinst, a foreign architecture, a hold and a pin.
func Scenario(ctx context.Context) ([]Case, error) {
	old, err := compileWorker(ctx, OldVersion)
	if err != nil {
		return nil, err
	}
	patched, err := compileWorker(ctx, NewVersion)
	if err != nil {
		return nil, err
	}
	return []Case{
		serviceCase(), libraryCase(old, patched), rebootCase(), newDependencyCase(), conffileCase(),
		failingCase(), foreignCase(), heldCase(), pinnedCase(),
	}, nil
}

// plain is a package with one file that names its version.
func plain(name, version string) Package {
	return Package{
		Name: name, Version: version,
		Files: map[string]File{"/usr/share/" + name + "/version": Text(version + "\n")},
	}
}

// pair is the plain package in both versions, for cases that add to it.
func pair(name string) (Package, Package) { return plain(name, OldVersion), plain(name, NewVersion) }

// unit is a systemd service that runs one program.
func unit(description, program string) File {
	return Text("[Unit]\nDescription=" + description + "\n[Service]\nExecStart=" + program +
		"\n[Install]\nWantedBy=multi-user.target\n")
}

// startUnit is a postinst that enables a unit and starts or restarts it.
func startUnit(name string) string {
	return "#!/bin/sh\nset -e\nif [ \"$1\" = configure ] && [ -d /run/systemd/system ]; then\n" +
		"\tsystemctl daemon-reload\n\tsystemctl --quiet enable " + name + "\n\tsystemctl restart " + name + "\nfi\n"
}

// serviceCase is a daemon that restarts itself when it is upgraded and writes
// the version that runs to /run/lab-service.version.
func serviceCase() Case {
	old, patched := pair("lab-service")
	for _, p := range []*Package{&old, &patched} {
		p.Files["/usr/sbin/lab-service"] = File{
			Data: []byte("#!/bin/sh\nif [ \"$1\" = note ]; then echo " + p.Version + " > /run/lab-service.version; exit; fi\nexec sleep infinity\n"),
			Mode: 0o755,
		}
		// With a step before the start, systemctl waits until the version is written.
		p.Files["/lib/systemd/system/lab-service.service"] = unit("lab service", "/usr/sbin/lab-service\nExecStartPre=/usr/sbin/lab-service note")
		p.Postinst = startUnit("lab-service.service")
	}
	return Case{
		Package: "lab-service", Suite: SecuritySuite, Listed: true, Installs: true,
		Old: []Package{old}, New: []Package{patched},
	}
}

// worker is the program and the library of [libraryCase].
type worker struct{ program, library []byte }

// libraryCase is a library that a daemon of another package has mapped. The
// daemon goes on with the deleted file until somebody restarts it.
func libraryCase(old, patched worker) Case {
	library := func(version string, w worker) Package {
		p := plain("liblab1", version)
		p.Arch, p.Section, p.Depends = "amd64", "libs", []string{"libc6"}
		p.Files["/usr/lib/x86_64-linux-gnu/liblab.so.1"] = File{Data: w.library}
		p.Triggers = "activate-noawait ldconfig\n"
		return p
	}
	daemon := plain("lab-worker", OldVersion)
	daemon.Arch, daemon.Depends = "amd64", []string{"liblab1", "libc6"}
	daemon.Files["/usr/sbin/lab-worker"] = File{Data: old.program, Mode: 0o755}
	daemon.Files["/lib/systemd/system/lab-worker.service"] = unit("lab worker", "/usr/sbin/lab-worker")
	daemon.Postinst = "#!/bin/sh\nset -e\nldconfig\n" + startUnit("lab-worker.service")
	return Case{
		Package: "liblab1", Suite: SecuritySuite, Listed: true, Installs: true, Restart: "lab-worker.service",
		Old: []Package{library(OldVersion, old), daemon}, New: []Package{library(NewVersion, patched)},
	}
}

// rebootCase asks for a reboot in the way of Debian's kernels.
func rebootCase() Case {
	old, patched := pair("lab-reboot")
	patched.Postinst = "#!/bin/sh\nset -e\n[ \"$1\" = configure ] || exit 0\n" +
		"touch /run/reboot-required\necho lab-reboot >> /run/reboot-required.pkgs\n"
	return Case{
		Package: "lab-reboot", Suite: SecuritySuite, Listed: true, Installs: true, Reboot: true,
		Old: []Package{old}, New: []Package{patched},
	}
}

// newDependencyCase needs a package that the old version did not.
func newDependencyCase() Case {
	old, patched := pair("lab-newdep")
	patched.Depends = []string{"lab-newdep-data (= " + NewVersion + ")"}
	return Case{
		Package: "lab-newdep", Suite: MainSuite, Listed: true, Installs: true, Brings: []string{"lab-newdep-data"},
		Old: []Package{old}, New: []Package{patched, plain("lab-newdep-data", NewVersion)},
	}
}

// conffileCase ships a changed configuration that the machine has changed too.
func conffileCase() Case {
	const path = "/etc/lab-conffile.conf"
	old, patched := pair("lab-conffile")
	for _, p := range []*Package{&old, &patched} {
		p.Conffiles = []string{path}
	}
	old.Files[path] = Text("colour = blue\n")
	patched.Files[path] = Text("colour = blue\nsize = large\n")
	return Case{
		Package: "lab-conffile", Suite: SecuritySuite, Listed: true, Installs: true,
		Old: []Package{old}, New: []Package{patched},
		Setup: [][]string{{"sed", "-i", "s/blue/green/", path}},
	}
}

// failingCase cannot be configured.
func failingCase() Case {
	const reason = "lab-failing: cannot migrate the database: column is missing"
	old, patched := pair("lab-failing")
	patched.Postinst = "#!/bin/sh\necho '" + reason + "' >&2\nexit 3\n"
	return Case{
		Package: "lab-failing", Suite: SecuritySuite, Listed: true, Fails: reason,
		Old: []Package{old}, New: []Package{patched},
	}
}

// foreignCase is installed for two architectures that must stay level.
func foreignCase() Case {
	build := func(version string) []Package {
		var both []Package
		for _, arch := range []string{"amd64", "i386"} {
			p := plain("lab-multi", version)
			p.Arch, p.MultiArch = arch, "same"
			both = append(both, p)
		}
		return both
	}
	return Case{
		Package: "lab-multi", Suite: SecuritySuite, Listed: true, Installs: true,
		Old: build(OldVersion), New: build(NewVersion),
	}
}

// heldCase is held back by the administrator.
func heldCase() Case {
	old, patched := pair("lab-held")
	return Case{
		Package: "lab-held", Suite: SecuritySuite, Listed: true,
		Old: []Package{old}, New: []Package{patched},
		Setup: [][]string{{"apt-mark", "hold", "lab-held"}},
	}
}

// pinnedCase is pinned to the old version by apt_preferences(5).
func pinnedCase() Case {
	old, patched := pair("lab-pinned")
	pin := "Package: lab-pinned\nPin: version " + OldVersion + "\nPin-Priority: 1001\n"
	return Case{
		Package: "lab-pinned", Suite: MainSuite,
		Old: []Package{old}, New: []Package{patched},
		Setup: [][]string{{"sh", "-c", "printf '%s' \"$1\" > /etc/apt/preferences.d/lab-pinned", "sh", pin}},
	}
}

// compileWorker compiles the library and a program that maps it and waits.
func compileWorker(ctx context.Context, version string) (worker, error) {
	dir, err := os.MkdirTemp("", "fettle-lab-gcc-")
	if err != nil {
		return worker{}, fmt.Errorf("lab: compile: %w", err)
	}
	defer os.RemoveAll(dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	sources := map[string]string{
		"lab.c":    "const char *lab_version(void) { return \"" + version + "\"; }\n",
		"worker.c": "#include <unistd.h>\n#include <stdio.h>\nconst char *lab_version(void);\nint main(void) { puts(lab_version()); fflush(stdout); for (;;) pause(); }\n",
	}
	for name, text := range sources {
		if err := writeFile(at(name), []byte(text)); err != nil {
			return worker{}, err
		}
	}
	for _, argv := range [][]string{
		{"gcc", "-O1", "-shared", "-fPIC", "-Wl,-soname,liblab.so.1", "-o", at("liblab.so"), at("lab.c")},
		{"gcc", "-O1", "-o", at("worker"), at("worker.c"), "-L" + dir, "-llab"},
	} {
		if _, err := command(ctx, argv...); err != nil {
			return worker{}, err
		}
	}
	program, err := os.ReadFile(at("worker"))
	if err != nil {
		return worker{}, fmt.Errorf("lab: compile: %w", err)
	}
	library, err := os.ReadFile(at("liblab.so"))
	if err != nil {
		return worker{}, fmt.Errorf("lab: compile: %w", err)
	}
	return worker{program, library}, nil
}

// AddOld puts the old versions of all cases into the archive's main suite.
func AddOld(ctx context.Context, a *Archive, cases []Case) error {
	for _, c := range cases {
		if err := a.Add(ctx, MainSuite, c.Old...); err != nil {
			return err
		}
	}
	return nil
}

// AddNew puts the new versions of all cases into their suites.
func AddNew(ctx context.Context, a *Archive, cases []Case) error {
	for _, c := range cases {
		if err := a.Add(ctx, c.Suite, c.New...); err != nil {
			return err
		}
	}
	return nil
}

// KeyPath is where machines keep the key of an archive of the lab.
const KeyPath = "/usr/share/keyrings/fettle-lab.asc"

// Settle makes a machine the subject of the scenario: it trusts the archive,
// names it at uri as a source, has the old versions installed and its holds,
// pins and local changes made. It needs no network.
func Settle(ctx context.Context, m *Machine, a *Archive, uri string, cases []Case) error {
	key, err := a.PublicKey(ctx)
	if err != nil {
		return err
	}
	if err := m.WriteFile(ctx, KeyPath, bytes.NewReader(key), 0o644); err != nil {
		return err
	}
	sources := bytes.NewReader([]byte(a.Sources(uri, KeyPath)))
	if err := m.WriteFile(ctx, "/etc/apt/sources.list.d/lab.sources", sources, 0o644); err != nil {
		return err
	}
	install := []string{"dpkg", "--install"}
	for _, c := range cases {
		for _, p := range c.Old {
			deb := filepath.Join("/var/tmp/lab", p.FileName())
			if err := m.CopyIn(ctx, filepath.Join(a.Dir, "pool", MainSuite, p.Name, p.FileName()), deb); err != nil {
				return err
			}
			install = append(install, deb)
		}
	}
	setup := [][]string{{"dpkg", "--add-architecture", "i386"}, install, {"rm", "-r", "/var/tmp/lab"}}
	for _, c := range cases {
		setup = append(setup, c.Setup...)
	}
	for _, argv := range setup {
		if _, err := m.Run(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}
