package wininstall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/test/lab"
	"github.com/fettlehq/fettle/test/lab/wine"
	"github.com/fettlehq/fettle/test/lab/wine/vendor"
	"github.com/fettlehq/fettle/test/wininstall/driver/drive"
)

// machine is one host with its software vendor.
type machine struct {
	t      *testing.T
	ctx    context.Context
	host   *wine.Host
	vendor *vendor.Vendor
	trust  *catalog.CodeSigning
	tasks  string
	dirs   int
	// payloads are what was copied into the host, by hash.
	payloads map[string]string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	t.Cleanup(cancel)
	fleet, err := lab.NewFleet(ctx, "", t.Output())
	must(t, err)
	t.Cleanup(func() { must(t, fleet.Close()) })
	h, err := wine.Start(ctx, fleet, "installs", os.Stderr)
	must(t, err)
	v, err := vendor.New(ctx, t.TempDir(), t.TempDir())
	must(t, err)
	m := &machine{t: t, ctx: ctx, host: h, vendor: v, payloads: map[string]string{}}
	text, err := os.ReadFile(v.RootFile())
	must(t, err)
	block, _ := pem.Decode(text)
	m.trust = &catalog.CodeSigning{Roots: [][]byte{block.Bytes}, TimestampRoots: [][]byte{block.Bytes}}
	exe := filepath.Join(t.TempDir(), "driver.exe")
	build := exec.CommandContext(ctx, "go", "build", "-o", exe, "./driver")
	build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	must(t, h.CopyIn(exe, `C:\driver.exe`))
	// Without a display Wine makes no windows unless its driver is "null". The
	// desktop, which is there from the start, takes it up with a restart.
	must(t, h.SetRegistry(ctx, `HKCU\Software\Wine\Drivers`, "Graphics", "null"))
	must(t, h.Reboot(ctx))
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drive does one request on the host.
func (m *machine) drive(req drive.Request) drive.Reply {
	m.t.Helper()
	if req.Dir == "" {
		m.dirs++
		req.Dir = `C:\fettle\` + strings.ReplaceAll(m.tasks, " ", "-") + strconv.Itoa(m.dirs)
	}
	m.write(req)
	res, err := m.host.Exec(m.ctx, "cmd", "/c", `C:\driver.exe < `+req.Dir+`\request.json`)
	must(m.t, err)
	var reply drive.Reply
	if err := json.Unmarshal([]byte(strings.TrimSpace(res.Stdout)), &reply); err != nil {
		m.t.Fatalf("%v: exit code %d\n%s\n%s", err, res.Code, res.Stdout, res.Stderr)
	}
	return reply
}

// write leaves the request in the task's folder.
func (m *machine) write(req drive.Request) {
	m.t.Helper()
	req.Payloads = m.payloads
	if req.CodeSigning == nil {
		req.CodeSigning = m.trust
	}
	body, err := json.Marshal(req)
	must(m.t, err)
	must(m.t, m.host.WriteFile(req.Dir+`\request.json`, body))
}

// put copies a file into the host's payload store.
func (m *machine) put(file string) patch.Payload {
	m.t.Helper()
	data, err := os.ReadFile(file)
	must(m.t, err)
	sum := sha256.Sum256(data)
	p := patch.Payload{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(data)), Name: filepath.Base(file), Signer: vendor.Publisher}
	if m.payloads[p.SHA256] == "" {
		to := `C:\store\` + p.SHA256
		must(m.t, m.host.CopyIn(file, to))
		m.payloads[p.SHA256] = to
	}
	return p
}

// patch builds one version of an application and the patch that brings it.
func (m *machine) patch(a vendor.Application, version string) patch.Patch {
	m.t.Helper()
	i, err := m.vendor.Build(m.ctx, a, version)
	must(m.t, err)
	p := patch.Patch{
		ID: patch.ID("winget:" + a.ID() + ":" + version), Vendor: "lab", Platform: "windows-apps-amd64", Product: a.Name, Version: version,
		Install: patch.Manifest{Kind: strings.TrimSuffix(string(a.Kind), "32"), Scope: "machine"},
	}
	item := patch.Item{Kind: inventory.KindApp, Name: inventory.AppName(a.Name, vendor.Publisher), Version: version, Payload: m.put(i.File)}
	if a.Kind == vendor.MSI {
		item.Kind, item.Name = inventory.KindFamily, a.UpgradeCode()
	} else {
		p.Install.Argv = []string{"{payload}", "/S"}
		p.Install.UninstallArgv = []string{"{uninstall}", "/S"}
	}
	p.Items = []patch.Item{item}
	return p
}

// have installs a version as an administrator would, without Fettle.
func (m *machine) have(a vendor.Application, version string) {
	m.t.Helper()
	i, err := m.vendor.Build(m.ctx, a, version)
	must(m.t, err)
	at := `C:\admin\` + filepath.Base(i.File)
	must(m.t, m.host.CopyIn(i.File, at))
	argv := []string{at, "/S"}
	if a.Kind == vendor.MSI {
		argv = []string{"msiexec", "/i", at, "/qn", "/norestart"}
	}
	res, err := m.host.Exec(m.ctx, argv...)
	if err != nil || res.Code != 0 && res.Code != 3010 {
		m.t.Fatalf("%s %s: %+v %v", a.Name, version, res, err)
	}
}

// version is what Windows lists of the application, or "".
func (m *machine) version(a vendor.Application) string {
	m.t.Helper()
	for _, p := range m.drive(drive.Request{Do: "stock"}).Stock {
		if p.Title == a.Name {
			return p.Version
		}
	}
	return ""
}

// program compiles a C program of this folder and signs it.
func (m *machine) program(name string) string {
	m.t.Helper()
	exe := filepath.Join(m.t.TempDir(), name+".exe")
	cmd := exec.CommandContext(m.ctx, "x86_64-w64-mingw32-gcc-posix", "-Os", "-s", "-Wall", "-Werror", "-o", exe, filepath.Join("source", name+".c"))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		m.t.Fatalf("%v\n%s", err, said.String())
	}
	must(m.t, m.vendor.Sign(m.ctx, vendor.Publisher, exe))
	return exe
}

// cabinet makes a signed cabinet of that name.
func (m *machine) cabinet(name string) patch.Payload {
	m.t.Helper()
	dir := m.t.TempDir()
	must(m.t, os.WriteFile(filepath.Join(dir, "content.txt"), []byte(name), 0o600))
	cmd := exec.CommandContext(m.ctx, "gcab", "-c", name, "content.txt")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("gcab: %v\n%s", err, out)
	}
	file := filepath.Join(dir, name)
	must(m.t, m.vendor.Sign(m.ctx, vendor.Publisher, file))
	return m.put(file)
}
