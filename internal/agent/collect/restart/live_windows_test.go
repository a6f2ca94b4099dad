package restart

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
)

// TestAtRest: nothing is to be restarted on a machine where nothing was
// replaced, though it has services and their libraries are looked at.
func TestAtRest(t *testing.T) {
	m := live()
	services, err := m.Services()
	if err != nil || len(services) == 0 {
		t.Fatalf("%v, %v", services, err)
	}
	modules, named := 0, 0
	for pid := range services {
		for _, one := range m.Modules(pid) {
			modules++
			if one.Mapped != "" {
				named++
			}
		}
	}
	if modules == 0 || named < modules/2 {
		t.Errorf("%d services run %d files, of which %d have a name", len(services), modules, named)
	}
	tree, err := collect.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }() // read only
	var s inventory.Snapshot
	if err := Windows().Collect(t.Context(), tree, &s); err != nil || len(s.State.RestartsDue) > 0 {
		t.Errorf("%v, %v", s.State.RestartsDue, err)
	}
}

// TestOwnModules: this program is loaded from where it lies.
func TestOwnModules(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m, found := live(), false
	for _, one := range m.Modules(uint32(os.Getpid())) {
		if strings.EqualFold(one.Loaded, self) {
			found = true
			if !strings.EqualFold(one.Mapped, self) {
				t.Errorf("mapped from %q", one.Mapped)
			}
		}
		if replaced(m, one) {
			t.Errorf("%+v counts as replaced", one)
		}
	}
	if !found {
		t.Errorf("%s is none of its modules", self)
	}
	if got := m.Modules(0); len(got) > 0 {
		t.Errorf("the idle process has %v", got)
	}
}

// TestMoved: a program that runs is put aside and another into its place.
// Wine goes on calling its file what it was called when it was loaded, so that
// nothing can be seen there.
func TestMoved(t *testing.T) {
	const place, aside = `C:\fettle-moved.exe`, `C:\fettle-moved.rbf`
	if os.Getenv("FETTLE_SLEEP") != "" {
		time.Sleep(time.Hour) // until it is killed
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(place, data, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(place, "-test.run=^TestMoved$")
	cmd.Env = append(os.Environ(), "FETTLE_SLEEP=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it is our own child
		_ = cmd.Wait()         // "killed" is what it says
		_, _ = os.Remove(place), os.Remove(aside)
	})
	m := live()
	program := func() module {
		t.Helper()
		for range 6000 { // it takes a moment to start
			for _, one := range m.Modules(uint32(cmd.Process.Pid)) {
				if strings.EqualFold(one.Loaded, place) {
					return one
				}
			}
			time.Sleep(20 * time.Millisecond) // another process
		}
		t.Fatal("the program does not run itself")
		return module{}
	}
	if one := program(); replaced(m, one) {
		t.Fatalf("%+v counts as replaced", one)
	}
	if err := os.Rename(place, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(place, data, 0o700); err != nil {
		t.Fatal(err)
	}
	wine := windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
	if one := program(); replaced(m, one) == wine {
		t.Errorf("%+v, under Wine: %v", one, wine)
	}
}

// TestIdentity: files are told apart by what they are, not by their paths.
func TestIdentity(t *testing.T) {
	m := live()
	one, two, link := `C:\fettle-a.txt`, `C:\fettle-b.txt`, `C:\fettle-c.txt`
	for _, f := range []string{one, two} {
		if err := os.WriteFile(f, []byte("the same"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(one, link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = os.Remove(one), os.Remove(two), os.Remove(link) })
	id := func(path string) string {
		t.Helper()
		got, ok := m.Identity(path)
		if !ok {
			t.Fatalf("%s has no identity", path)
		}
		return got
	}
	if id(one) != id(link) || id(one) == id(two) || id(one) == "" || id(strings.ToUpper(one)) != id(one) {
		t.Errorf("%s %s %s", id(one), id(two), id(link))
	}
	if id(`C:\fettle none`) != "" || id(`C:\fettle none\x`) != "" {
		t.Error("what is not there has an identity")
	}
	if users, err := m.Users([]string{one, `C:\fettle none`}); err != nil || len(users) > 0 {
		t.Errorf("the file is used by %v, %v", users, err)
	}
}
