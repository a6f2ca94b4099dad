// Package aptget lets the machine's own apt fetch indexes and packages into a private folder.
//
// The machine's sources, mirrors, proxies, credentials and keyrings work as they are set up, because apt itself reads
// them; but lists, caches, locks and hooks are the caller's own, so nothing changes under /var/lib/apt or /var/cache/apt
// and a running apt of the machine's owner is not disturbed. What comes out is plain: which Packages file belongs to
// which signed Release file, and files on disk. Whether those are authentic is for the caller to prove again.
//
// See apt.conf(5), sources.list(5), apt-get(8) and /usr/share/doc/apt-doc/acquire-additional-files.md.
package aptget

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// Config says whose apt configuration is used and where the private state lives.
type Config struct {
	// Root is the private folder for lists, caches and locks; it is created. Kept between runs, it makes the next Update
	// conditional.
	Root string
	// Etc replaces /etc/apt (sources, keyrings, preferences, credentials) by another folder; empty means the machine's.
	// The machine's apt.conf and apt.conf.d, with its proxies, apply in either case.
	Etc string
	// Architectures replaces dpkg's native and foreign architectures, native first; empty means the machine's.
	Architectures []string
}

// Apt runs apt-get over one private folder. Its methods may be called concurrently; they take turns.
type Apt struct {
	runner run.Runner
	cfg    Config
	conf   string
	etc    etc
	mu     sync.Mutex
}

// etc is where apt reads its sources and keys, as apt-config tells.
type etc struct {
	sourceList, sourceParts string
	trusted, trustedParts   string
	sandboxUser             string
}

// Machine prepares the private folder and asks apt-config how this machine is set up. Errors: fault.NotFound when
// apt is not installed, fault.Unavailable when the folder can't be written.
func Machine(ctx context.Context, runner run.Runner, cfg Config) (*Apt, error) {
	root, err := filepath.Abs(cfg.Root)
	if err != nil || strings.ContainsAny(root+cfg.Etc+strings.Join(cfg.Architectures, ""), "\"\\\n") {
		return nil, fault.New(fault.Invalid, "aptget: %q can't be used as a folder for apt", cfg.Root)
	}
	cfg.Root = root
	a := &Apt{runner: runner, cfg: cfg, conf: filepath.Join(root, "apt.conf")}
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "log"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "aptget: can't make apt's private folder")
		}
	}
	if err := atomicfile.Write(filepath.Join(root, "state", "status"), nil, 0o644); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(a.conf, a.configuration(nil), 0o644); err != nil {
		return nil, err
	}
	targets, err := a.unwantedTargets(ctx)
	if err != nil {
		return nil, err
	}
	if a.etc, err = a.readEtc(ctx); err != nil {
		return nil, err
	}
	return a, atomicfile.Write(a.conf, a.configuration(targets), 0o644)
}

// configuration is read after the machine's own (apt-get -c), so that it can clear hooks that would touch the machine:
// container images delete /var/cache/apt after each update, desktops tell PackageKit. An empty status file makes every
// version a candidate, whatever this machine has installed.
func (a *Apt) configuration(unwanted []string) []byte {
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s %q;\n", key, value) }
	b.WriteString("#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n")
	set("Dir::State", filepath.Join(a.cfg.Root, "state")+"/")
	set("Dir::State::lists", "lists/")
	set("Dir::State::status", filepath.Join(a.cfg.Root, "state", "status"))
	set("Dir::Cache", filepath.Join(a.cfg.Root, "cache")+"/")
	set("Dir::Cache::archives", "archives/")
	set("Dir::Cache::pkgcache", "pkgcache.bin") // 0.03 s instead of 3 s for each later command
	set("Dir::Cache::srcpkgcache", "")
	set("Dir::Log", filepath.Join(a.cfg.Root, "log")+"/")
	set("Acquire::Languages", "none")
	set("APT::Update::Error-Mode", "any")
	set("APT::Get::List-Cleanup", "true")
	if a.cfg.Etc != "" {
		set("Dir::Etc", strings.TrimSuffix(a.cfg.Etc, "/")+"/")
		set("Dir::Etc::sourcelist", "sources.list")
		set("Dir::Etc::sourceparts", "sources.list.d")
	}
	if len(a.cfg.Architectures) > 0 {
		set("APT::Architecture", a.cfg.Architectures[0])
		b.WriteString("#clear APT::Architectures;\n")
		for _, arch := range a.cfg.Architectures {
			set("APT::Architectures::", arch)
		}
	}
	for _, t := range unwanted {
		set("Acquire::IndexTargets::"+t+"::DefaultEnabled", "false")
	}
	if !traversable(a.cfg.Root) {
		set("APT::Sandbox::User", "root")
	}
	return []byte(b.String())
}

// unwantedTargets names what apt would fetch besides Packages: icons, Contents, command-not-found data, sources.
func (a *Apt) unwantedTargets(ctx context.Context) ([]string, error) {
	res, err := a.run(ctx, run.Cmd{Argv: []string{"apt-config", "dump", "--no-empty", "--format", "%F%n", "Acquire::IndexTargets"}})
	if err != nil {
		return nil, err
	}
	var out []string
	seen := map[string]bool{"deb::Packages": true}
	for line := range strings.Lines(string(res.Stdout)) {
		key, ok := strings.CutPrefix(strings.TrimSpace(line), "Acquire::IndexTargets::")
		parts := strings.Split(key, "::")
		if !ok || len(parts) < 3 || seen[parts[0]+"::"+parts[1]] {
			continue
		}
		seen[parts[0]+"::"+parts[1]] = true
		out = append(out, parts[0]+"::"+parts[1])
	}
	return out, nil
}

func (a *Apt) readEtc(ctx context.Context) (etc, error) {
	var e etc
	vars := []struct {
		key  string
		dest *string
	}{
		{"Dir::Etc::sourcelist/f", &e.sourceList},
		{"Dir::Etc::sourceparts/d", &e.sourceParts},
		{"Dir::Etc::trusted/f", &e.trusted},
		{"Dir::Etc::trustedparts/d", &e.trustedParts},
		{"APT::Sandbox::User", &e.sandboxUser},
	}
	argv := []string{"apt-config", "shell"}
	for i, v := range vars {
		argv = append(argv, "V"+strconv.Itoa(i), v.key)
	}
	res, err := a.run(ctx, run.Cmd{Argv: argv})
	if err != nil {
		return e, err
	}
	for line := range strings.Lines(string(res.Stdout)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		i, err := strconv.Atoi(strings.TrimPrefix(name, "V"))
		if !ok || err != nil || i < 0 || i >= len(vars) {
			return e, fault.New(fault.Unsupported, "aptget: apt-config says %q, which is not understood", line)
		}
		*vars[i].dest = strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(value, "'"), "'"), `'\''`, "'")
	}
	return e, nil
}

// run runs one of apt's commands with our configuration behind the machine's and fails when it fails.
func (a *Apt) run(ctx context.Context, cmd run.Cmd) (run.Result, error) {
	cmd.Argv = append([]string{cmd.Argv[0], "-c", a.conf}, cmd.Argv[1:]...)
	cmd.Inherit = []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "APT_CONFIG"}
	cmd.MaxOutput = 64 << 20
	res, err := a.runner.Run(ctx, cmd)
	if fault.Is(err, fault.NotFound) {
		return res, fault.Wrap(err, fault.NotFound, "aptget: this machine has no apt")
	}
	if err != nil {
		return res, fmt.Errorf("aptget: %w", err)
	}
	if res.ExitCode != 0 {
		return res, explain(res)
	}
	return res, nil
}

// explain picks the reason out of apt's "E:" lines.
func explain(res run.Result) error {
	_, problems := messages(res.Stderr)
	text := strings.Join(problems, "; ")
	switch {
	case text == "":
		return fmt.Errorf("aptget: %w", res.Err())
	case strings.Contains(text, "Could not get lock"):
		return fault.Wrap(errors.Join(errLocked, res.Err()), fault.Unavailable, "aptget: another apt works in the same private folder").
			WithHint("it was waited for %s; see 'ps -C apt-get' and try again when it has ended", lockWait)
	case strings.Contains(text, "was not found"), strings.Contains(text, "Unable to locate package"), strings.Contains(text, "Can't select"):
		return fault.Wrap(res.Err(), fault.NotFound, "aptget: %s", text)
	case strings.Contains(text, "No space left on device"):
		return fault.Wrap(res.Err(), fault.Exhausted, "aptget: no space left: %s", text)
	}
	return fault.Wrap(res.Err(), fault.Unavailable, "aptget: %s", text)
}

// messages splits what apt wrote to standard error into warnings ("W:") and errors ("E:").
func messages(stderr []byte) (warnings, problems []string) {
	for line := range strings.Lines(string(stderr)) {
		line = strings.TrimSpace(line)
		if w, ok := strings.CutPrefix(line, "W: "); ok && !strings.Contains(w, "performed unsandboxed") {
			warnings = append(warnings, w)
		}
		if e, ok := strings.CutPrefix(line, "E: "); ok {
			problems = append(problems, e)
		}
	}
	return warnings, problems
}

// traversable reports whether apt's unprivileged user can reach dir; if not, apt has to fetch as this user.
func traversable(dir string) bool {
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if d == filepath.Dir(d) {
			return true
		}
	}
}

// giveTo lets apt's unprivileged user write into dir, when this process may do that and the user can get there.
func (a *Apt) giveTo(dir string) {
	u, err := user.Lookup(a.etc.sandboxUser)
	if err != nil || os.Geteuid() != 0 || !traversable(filepath.Dir(dir)) {
		return // apt notices that the user can't write there and fetches unsandboxed, as it always did
	}
	if uid, err := strconv.Atoi(u.Uid); err == nil {
		_ = os.Chown(dir, uid, -1)
	}
}
