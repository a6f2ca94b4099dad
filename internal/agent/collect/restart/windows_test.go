package restart

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/collect"
)

// recorded is a machine as it would answer: files by path with their
// identities, "?" for one that must not be looked at.
type recorded struct {
	services map[uint32][]string
	modules  map[uint32][]module
	files    map[string]string
	users    map[string][]string
	fails    error
	looked   int
}

func (r *recorded) Services() (map[uint32][]string, error) { return r.services, nil }

func (r *recorded) Modules(pid uint32) []module { return r.modules[pid] }

func (r *recorded) Identity(path string) (string, bool) {
	r.looked++
	id := r.files[strings.ToLower(path)]
	return id, id != "?"
}

func (r *recorded) Users(files []string) (names []string, err error) {
	for _, f := range files {
		names = append(names, r.users[f]...)
	}
	return names, r.fails
}

// TestReplaced: what counts as moved out of its place, and what does not.
func TestReplaced(t *testing.T) {
	m := &recorded{files: map[string]string{
		`c:\program files\lab\lab.dll`: "new", `c:\config.msi\3a1b2.rbf`: "old", `c:\lab\old_lab.exe`: "old",
		`c:\link\lab.dll`: "one", `d:\real\lab.dll`: "one", `c:\secret\a.dll`: "?", `c:\gone\tmp.dll`: "",
		`c:\windows\system32\kernel32.dll`: "64", `c:\windows\syswow64\kernel32.dll`: "32",
	}}
	for _, c := range []struct {
		name           string
		loaded, mapped string
		want           bool
	}{
		{"in its place", `C:\Program Files\Lab\lab.dll`, `C:\Program Files\Lab\LAB.DLL`, false},
		{"put aside by Windows Installer", `C:\Program Files\Lab\lab.dll`, `C:\Config.Msi\3a1b2.rbf`, true},
		{"put aside, and nothing in its place", `C:\lab\lab.exe`, `C:\lab\old_lab.exe`, true},
		{"as the kernel writes it", `\??\C:\lab\lab.exe`, `C:\lab\old_lab.exe`, true},
		{"a link", `C:\link\lab.dll`, `D:\real\lab.dll`, false},
		{"a library for 32 bits", `C:\Windows\System32\kernel32.dll`, `C:\Windows\SysWOW64\kernel32.dll`, false},
		{"its place is closed", `C:\secret\a.dll`, `C:\Config.Msi\3a1b2.rbf`, false},
		{"its file is closed", `C:\Program Files\Lab\lab.dll`, `C:\secret\a.dll`, false},
		{"its file is nowhere", `C:\Program Files\Lab\lab.dll`, `C:\gone\tmp.dll`, false},
		{"on no drive", `C:\Program Files\Lab\lab.dll`, ``, false},
		{"of the network", `\\server\share\lab.dll`, `C:\Config.Msi\3a1b2.rbf`, false},
		{"cut off", `C:\` + strings.Repeat("x", 256), `C:\Config.Msi\3a1b2.rbf`, false},
		{"no path", "", "C:", false},
	} {
		if got := replaced(m, module{Loaded: c.loaded, Mapped: c.mapped}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestRestarts: the services of processes with replaced code, and those that
// use files which are only waiting to be deleted.
func TestRestarts(t *testing.T) {
	ntdll := module{`C:\Windows\System32\ntdll.dll`, `C:\Windows\System32\ntdll.dll`}
	moved := module{`C:\Lab\lab.dll`, `C:\Config.Msi\1.rbf`}
	m := &recorded{
		services: map[uint32][]string{4: {"Fresh"}, 8: {"Lab", "LabHelper"}, 12: {"Both"}, 16: {"Protected"}, 20: {"KeyIso", "SamSs"}},
		modules:  map[uint32][]module{4: {ntdll}, 8: {ntdll, moved, moved}, 12: {ntdll, moved}, 20: {moved}},
		files:    map[string]string{`c:\lab\lab.dll`: "new", `c:\config.msi\1.rbf`: "old"},
		users:    map[string][]string{`C:\Config.Msi\1.rbf`: {"Both", "Locked"}, `C:\new.dll`: {"Wrong"}, `C:\waits.dll`: {"Wrong"}, `relative`: {"Wrong"}},
	}
	pending := []collect.Pending{{From: `C:\Config.Msi\1.rbf`}, {From: `C:\new.dll`, To: `C:\waits.dll`}, {From: "relative"}}
	due, err := restarts(t.Context(), m, pending)
	if diff := cmp.Diff([]string{"Both", "Lab", "LabHelper", "Locked"}, due); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if m.looked != 2 {
		t.Errorf("one library was looked at %d times", m.looked)
	}
	m.fails = errors.New("busy")
	if due, err = restarts(t.Context(), m, pending); err == nil || len(due) != 4 {
		t.Errorf("%v, %v: what is known counts, and what failed is told", due, err)
	}
	var many []collect.Pending
	for i := range 1000 {
		many = append(many, collect.Pending{From: fmt.Sprintf(`C:\Config.Msi\%d.rbf`, i)})
	}
	if n := len(movedAside(many)); n != maxAside {
		t.Errorf("%d files are asked about", n)
	}
}
