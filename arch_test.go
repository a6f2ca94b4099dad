// Package fettle holds no code: its tests check that the house stands as it
// was drawn (ARCHITECTURE.md). Each check is tried on made-up sources first,
// so that it is known to be able to fail.
package fettle

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// repository is the parsed repository.
func repository(t *testing.T) []source {
	t.Helper()
	files, err := parseTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d Go files found: the checks would prove nothing", len(files))
	}
	return files
}

func TestArchitecture(t *testing.T) {
	files, h := repository(t), ourHouse()
	for _, tc := range []struct {
		rule string
		bad  []string
	}{
		{"imports of words, tools, rooms and wings", h.checkImports(files)},
		{"words take time as an argument", h.checkClock(files)},
		{"one package comment in each folder", checkDocs(files)},
		{"every niche is listed in its all", checkNiches(files)},
		{"no init functions", checkInit(files)},
		{"no global variables", checkGlobals(files)},
		{"main.go has at most 20 lines", checkMains(files)},
		{"files stay readable", checkSize(files, 600)},
		{"package names mean something", checkNames(files)},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			for _, b := range tc.bad {
				t.Error(b)
			}
		})
	}
}

// TestAgentLinksNoServer asks the linker's view, on every platform that the
// agent is built for.
func TestAgentLinksNoServer(t *testing.T) {
	for _, goos := range []string{"linux", "windows", "darwin"} {
		t.Run(goos, func(t *testing.T) {
			cmd := exec.Command("go", "list", "-deps", "./cmd/fettle-agent")
			cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("go list -deps ./cmd/fettle-agent: %v %s", err, stderr(err))
			}
			deps := strings.Fields(string(out))
			if !slices.Contains(deps, module+"internal/agent") {
				t.Error("the agent does not even link internal/agent: the check proves nothing")
			}
			for _, b := range foreignToAgent(deps) {
				t.Error(b)
			}
		})
	}
}

// foreignToAgent lists the packages that fettle-agent must not link.
func foreignToAgent(deps []string) []string {
	var bad []string
	for _, dep := range deps {
		to := strings.TrimPrefix(dep, module)
		for _, wing := range []string{"internal/publisher", "internal/server", "internal/relay", "internal/cli", "web", "test"} {
			if to != dep && within(to, wing) {
				bad = append(bad, "fettle-agent links "+to)
			}
		}
	}
	return bad
}

// TestNoRegistryHosts takes the hosts of package registries from this
// machine's own configuration, so that they need not be written here either.
func TestNoRegistryHosts(t *testing.T) {
	hosts := registryHosts(t)
	if len(hosts) == 0 {
		t.Fatal("neither apt nor go nor npm names a registry: the check proves nothing")
	}
	out, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v %s", err, stderr(err))
	}
	files := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.FromSlash(name))
		if err == nil { // a deleted file is still listed, a link to a folder cannot be read
			files[name] = data
		}
	}
	if len(files) < 20 {
		t.Fatalf("git tracks only %d files: the check proves nothing", len(files))
	}
	for _, b := range checkHosts(files, hosts) {
		t.Error(b)
	}
}

// registryHosts asks apt, go and npm where they fetch from.
func registryHosts(t *testing.T) []string {
	t.Helper()
	var uris []string
	if out, err := exec.Command("apt-get", "update", "--print-uris").Output(); err == nil {
		for line := range strings.Lines(string(out)) {
			if rest, ok := strings.CutPrefix(line, "'"); ok {
				uri, _, _ := strings.Cut(rest, "'")
				uris = append(uris, uri)
			}
		}
	}
	out, err := exec.Command("go", "env", "-json", "GOPROXY", "GOSUMDB").Output()
	if err != nil {
		t.Fatalf("go env: %v %s", err, stderr(err))
	}
	var env map[string]string
	if err := json.Unmarshal(out, &env); err != nil {
		t.Fatal(err)
	}
	uris = append(uris, strings.FieldsFunc(env["GOPROXY"], func(r rune) bool { return r == ',' || r == '|' })...)
	for word := range strings.FieldsSeq(env["GOSUMDB"]) {
		if strings.Contains(word, ".") && !strings.Contains(word, "+") {
			uris = append(uris, "https://"+strings.TrimPrefix(word, "https://"))
		}
	}
	if out, err := exec.Command("npm", "config", "get", "registry").Output(); err == nil {
		uris = append(uris, strings.TrimSpace(string(out)))
	}
	return hostsOf(uris)
}

// hostsOf is the distinct host names of URIs, without loopback and addresses
// of one label, which occur in prose.
func hostsOf(uris []string) []string {
	var hosts []string
	for _, uri := range uris {
		u, err := url.Parse(uri)
		if err != nil {
			continue
		}
		host := strings.ToLower(u.Hostname())
		ip := net.ParseIP(host)
		if ip != nil && ip.IsLoopback() || ip == nil && !strings.Contains(host, ".") {
			continue
		}
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// stderr is what a failed command said.
func stderr(err error) string {
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // straight from os/exec
		return string(exit.Stderr)
	}
	return ""
}
