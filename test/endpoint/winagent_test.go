package endpoint

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/fettlehq/fettle/internal/authentic/authenticode"
	"github.com/fettlehq/fettle/test/lab"
	"github.com/fettlehq/fettle/test/lab/wine"
	"github.com/fettlehq/fettle/test/lab/wine/vendor"
)

// buildPackages builds the agent's package for Windows in two versions, once in
// the process; the second one is signed.
var buildPackages = sync.OnceValues(func() (map[string]string, error) {
	dir, err := buildHouse()
	if err != nil {
		return nil, err
	}
	exe := filepath.Join(dir, agentExe)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", exe, "../../cmd/fettle-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=windows", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the agent for Windows: %w: %s", err, out)
	}
	keys := filepath.Join(dir, "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		return nil, err
	}
	v, err := vendor.New(context.Background(), dir, keys)
	if err != nil {
		return nil, err
	}
	cert, key := v.SignerFiles(vendor.Publisher)
	packages := map[string]string{"root": v.RootFile()}
	for _, version := range []string{"0.1.0", "0.2.0"} {
		cmd := exec.Command("../../packaging/msi/build.sh", exe, version, dir)
		if version == "0.2.0" {
			cmd.Env = append(os.Environ(), "SIGN_CERT="+cert, "SIGN_KEY="+key)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("build the agent's package: %w: %s", err, out)
		}
		packages[version] = strings.TrimSpace(string(out))
	}
	return packages, nil
})

// agentExe is the program's file name in the folder of what was built.
const agentExe = "fettle-agent.exe"

// pureAndSmall judges the agent for Windows: no cgo, under 18 MB.
func pureAndSmall(t *testing.T, exe string) {
	t.Helper()
	info, err := os.Stat(exe)
	if err != nil || info.Size() >= 18e6 {
		t.Errorf("the agent for Windows has %d bytes, %v", info.Size(), err)
	}
	build, err := buildinfo.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range build.Settings {
		settings[s.Key] = s.Value
	}
	if settings["CGO_ENABLED"] != "0" || settings["GOOS"] != "windows" {
		t.Errorf("the agent for Windows was built with %v", settings)
	}
	t.Logf("the agent for Windows has %.1f MB", float64(info.Size())/1e6)
}

// pc is a Windows machine of the house.
type pc struct {
	*wine.Host
	h      *house
	booted time.Time // no later than anything was written on it
}

// plugIn boots a Windows machine.
func (h *house) plugIn(name string) *pc {
	h.t.Helper()
	now := time.Now().Add(-time.Minute) // the file system's clock is coarser
	host, err := wine.Start(h.ctx, h.fleet, name, h.t.Output())
	h.must(err)
	h.t.Cleanup(func() {
		if h.t.Failed() {
			_ = host.Logs(h.t.Output())
			for _, file := range []string{"agent.log", "agent.log.1"} {
				text, _ := host.ReadFile(`C:\ProgramData\Fettle\agent\` + file)
				h.t.Logf("%s of %s:\n%s", file, name, text)
			}
		}
	})
	return &pc{Host: host, h: h, booted: now}
}

// run runs a program that must end with 0.
func (p *pc) run(argv ...string) string {
	p.h.t.Helper()
	out, err := p.Run(p.h.ctx, argv...)
	p.h.must(err)
	return out
}

// msiexec installs a package and returns the exit code. It writes no log: into
// any log Wine writes all properties.
func (p *pc) msiexec(file string, properties ...string) int {
	p.h.t.Helper()
	const msi = `C:\packages\fettle-agent.msi`
	p.h.must(p.CopyIn(file, msi))
	res, err := p.Exec(p.h.ctx, append([]string{"msiexec", "/i", msi, "/qn", "/norestart"}, properties...)...)
	p.h.must(err)
	return res.Code
}

// properties are those with which the agent's package enrols a machine.
type properties struct{ Server, Token, CA, Root string }

// words are the arguments of msiexec.
func (p properties) words() []string {
	return []string{"SERVER=" + p.Server, "TOKEN=" + p.Token, "CA=" + p.CA, "ROOT=" + p.Root}
}

// invitation asks for a token.
func (h *house) invitation(uses int) properties {
	h.t.Helper()
	var token struct {
		Windows string `json:"command_windows"`
	}
	h.ask(&token, []string{"enroll-token", "--uses", fmt.Sprint(uses)})
	m := regexp.MustCompile(`^msiexec /i fettle-agent.msi /qn SERVER=(https://\S+) TOKEN=(\S+) CA=(\S+) ROOT=(\S+)$`).FindStringSubmatch(token.Windows)
	if m == nil {
		h.t.Fatalf("the command for Windows machines is %q", token.Windows)
	}
	return properties{m[1], m[2], m[3], m[4]}
}

// TestWindowsPackage takes the agent's package through its life on a machine.
func TestWindowsPackage(t *testing.T) {
	t.Parallel()
	packages, err := buildPackages()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, houseOptions{})
	pureAndSmall(t, filepath.Join(h.bin, agentExe))
	h.offer(lab.SlowCase())
	h.start()
	t.Cleanup(h.down)
	p := h.plugIn("desk")
	h.answers()
	invited := h.invitation(1)

	t.Log("a package that cannot enrol leaves nothing behind")
	if code := p.msiexec(packages["0.1.0"], "SERVER="+invited.Server); code != 1603 {
		t.Errorf("with SERVER alone msiexec ends with %d", code)
	}
	wrong := invited
	wrong.CA = "sha256:" + strings.Repeat("00", 32)
	// Windows says 1603 of an action that failed, Wine 1627.
	if code := p.msiexec(packages["0.1.0"], wrong.words()...); code == 0 {
		t.Errorf("with a wrong fingerprint msiexec ends with %d", code)
	}
	p.hasNoService()

	t.Log("installed and enrolled")
	if code := p.msiexec(packages["0.1.0"], invited.words()...); code != 0 {
		t.Fatalf("msiexec ends with %d", code)
	}
	h.must(p.WaitFor(h.ctx, "FettleAgent", "RUNNING"))
	h.until("the machine", func() bool { return h.hosts()["desk"].Online })
	first := h.hosts()["desk"].ID
	p.knows(invited.Token)
	hidesToken(t, packages["0.1.0"])

	t.Log("a newer package keeps the identity, whatever the command line says")
	if code := p.msiexec(packages["0.2.0"], wrong.words()...); code != 0 {
		t.Errorf("the upgrade ends with %d", code)
	}
	h.must(p.WaitFor(h.ctx, "FettleAgent", "RUNNING"))
	installed, err := p.ReadFile(`C:\Program Files\Fettle\fettle-agent.exe`)
	h.must(err)
	signed(t, packages["root"], installed)
	msi, err := os.ReadFile(packages["0.2.0"])
	h.must(err)
	signed(t, packages["root"], msi)
	if code := p.msiexec(packages["0.1.0"]); code != 1603 {
		t.Errorf("an older package over it ends with %d", code)
	}
	h.until("the machine, once more", func() bool { return h.hosts()["desk"].Online })
	if again := h.hosts()["desk"].ID; again != first || len(h.hosts()) != 1 {
		t.Errorf("after the upgrade there are %v", h.hosts())
	}

	t.Log("removed, it keeps its identity unless PURGE says otherwise")
	p.remove(packages["0.2.0"])
	if _, err := p.ReadFile(`C:\ProgramData\Fettle\agent\agent.json`); err != nil {
		t.Errorf("the identity: %v", err)
	}
	if code := p.msiexec(packages["0.2.0"]); code != 0 {
		t.Errorf("installed again: %d", code)
	}
	h.until("the machine, after all", func() bool { return h.hosts()["desk"].Online })
	p.remove(packages["0.2.0"], "PURGE=1")
	if _, err := p.ReadFile(`C:\ProgramData\Fettle\agent\agent.json`); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the purged identity: %v", err)
	}
}

// remove uninstalls the agent's package; nothing of it is left.
func (p *pc) remove(file string, properties ...string) {
	p.h.t.Helper()
	p.h.must(p.CopyIn(file, `C:\packages\fettle-agent.msi`))
	p.run(append([]string{"msiexec", "/x", `C:\packages\fettle-agent.msi`, "/qn", "/norestart"}, properties...)...)
	p.hasNoService()
	if _, err := p.ReadFile(`C:\Program Files\Fettle\fettle-agent.exe`); !errors.Is(err, fs.ErrNotExist) {
		p.h.t.Errorf("the removed program: %v", err)
	}
	p.h.until("the end of the removed agent, which has said that it stops", func() bool {
		pids, err := p.Processes("fettle-agent.exe")
		return err == nil && len(pids) == 0
	})
}

func (p *pc) hasNoService() {
	p.h.t.Helper()
	values, err := p.Registry(p.h.ctx, `HKLM\System\CurrentControlSet\Services\FettleAgent`)
	if err != nil || len(values) > 0 {
		p.h.t.Errorf("the service is there: %q, %v", values, err)
	}
}

// signed proves that a file bears the publisher's signature.
func signed(t *testing.T, root string, file []byte) {
	t.Helper()
	text, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := authenticode.ParseRoots(text)
	if err != nil {
		t.Fatal(err)
	}
	_, err = authenticode.Verify(bytes.NewReader(file), int64(len(file)), authenticode.Sniff,
		authenticode.Trust{Roots: roots}, authenticode.Expect{Publisher: vendor.Publisher}, time.Now())
	if err != nil {
		t.Error(err)
	}
}

// hidesToken looks at what keeps the token out of a verbose log: Windows
// Installer heeds it, Wine does not.
func hidesToken(t *testing.T, msi string) {
	t.Helper()
	for table, want := range map[string]string{"Property": "MsiHiddenProperties\tTOKEN;Enrol", "CustomAction": "Enrol\t11282\t"} {
		out, err := exec.Command("msiinfo", "export", msi, table).Output()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("table %s has no %q: %v\n%s", table, want, err, out)
		}
	}
}

// knows looks for a secret in every file of the machine, its registry and logs
// among them.
func (p *pc) knows(secret string) {
	p.h.t.Helper()
	var wide []byte
	for _, c := range utf16.Encode([]rune(secret)) {
		wide = append(wide, byte(c), byte(c>>8))
	}
	// The agent and Wine are at work: files come and go meanwhile.
	there := func(err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	err := filepath.WalkDir(filepath.Dir(p.Drive()), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return there(err)
		}
		// What came with Wine can't hold it.
		if info, err := d.Info(); err != nil || info.ModTime().Before(p.booted) {
			return there(err)
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) || bytes.Contains(data, wide) {
			p.h.t.Errorf("the token stands in %s", path)
		}
		return there(err)
	})
	p.h.must(err)
}
