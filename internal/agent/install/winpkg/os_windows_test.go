package winpkg

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
)

// folder is t.TempDir, which can't be removed under Wine 8.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fettle-winpkg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := atomicfile.RemoveTree(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestLockedFile: while a payload is held, nobody writes, renames or deletes
// it, and it is not taken from somebody who may write.
func TestLockedFile(t *testing.T) {
	dir := filepath.Join(folder(t), "windows", "0")
	if err := freshFolder(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "setup.exe")
	writer, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openLocked(path); !fault.Is(err, fault.Unavailable) {
		t.Errorf("opened while somebody writes: %v", err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := openLocked(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"write":   openToWrite(path),
		"delete":  os.Remove(path),
		"rename":  os.Rename(path, path+".old"),
		"replace": replaceBy(path),
	} {
		if err == nil {
			t.Errorf("%s worked", what)
		}
	}
	if _, err := os.ReadFile(path); err != nil {
		t.Errorf("others must be able to read: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := freshFolder(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("not empty: %v %v", left, err)
	}
}

func openToWrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_ = f.Close()
	}
	return err
}

func replaceBy(path string) error {
	other := path + ".new"
	_ = os.WriteFile(other, []byte("other"), 0o600) // without it the rename fails for another reason
	if _, err := os.Stat(other); err != nil {
		panic(err)
	}
	return os.Rename(other, path)
}

// TestPrivateFolder: only the system and administrators get in.
func TestPrivateFolder(t *testing.T) {
	dir := filepath.Join(folder(t), "windows", "0")
	if err := freshFolder(dir); err != nil {
		t.Fatal(err)
	}
	sd, err := windows.GetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		t.Fatal(err)
	}
	text := sd.String()
	if strings.Contains(text, ";;;WD)") || strings.Contains(text, ";;;BU)") || strings.Contains(text, ";;;AU)") {
		t.Errorf("others get in: %s", text)
	}
}

// TestInstalling: the mutex of Windows Installer counts while somebody has it.
func TestInstalling(t *testing.T) {
	if who := installing(); who != "" {
		t.Fatalf("before: %s", who)
	}
	name, err := windows.UTF16PtrFromString(`Global\_MSIExecute`)
	if err != nil {
		t.Fatal(err)
	}
	take, release := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // a mutex belongs to a thread
		m, err := windows.CreateMutex(nil, true, name)
		take <- err
		<-release
		_ = windows.ReleaseMutex(m)
		take <- windows.CloseHandle(m)
	}()
	if err := <-take; err != nil {
		t.Fatal(err)
	}
	if installing() == "" {
		t.Error("held, and not seen")
	}
	close(release)
	if err := <-take; err != nil {
		t.Fatal(err)
	}
}

// TestBelow finds this very process by the folder of its program.
func TestBelow(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(below(filepath.Dir(self)), ", "); !strings.Contains(got, filepath.Base(self)) {
		t.Errorf("%q lacks %s", got, filepath.Base(self))
	}
	if got := below(`C:\nothing\here`); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// TestUsersOwn: programs in users' folders are out of the question.
func TestUsersOwn(t *testing.T) {
	profiles, err := windows.KnownFolderPath(windows.FOLDERID_UserProfiles, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(profiles, "lab", "uninst.exe")
	if err := os.MkdirAll(filepath.Dir(mine), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, []byte("MZ"), 0o600); err != nil {
		t.Fatal(err)
	}
	fs := machineFiles{}
	if !fs.regular(mine) || !fs.usersOwn(mine) {
		t.Error("a user's program counts as the machine's")
	}
	if own := systemProgram("msiexec"); !fs.regular(own) || fs.usersOwn(own) {
		t.Errorf("%s does not count as the machine's", own)
	}
}

// TestTrustRow11UsersUninstaller: what a product registered for its removal is
// out of reach only where no user may write, by the rights that Windows checks
// and not by the folder's name.
func TestTrustRow11UsersUninstaller(t *testing.T) {
	dir := filepath.Join(folder(t), "app")
	sub := filepath.Join(dir, "bin")
	file := filepath.Join(sub, "unins000.exe")
	if err := freshFolder(sub); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	allow := func(path, sddl string) {
		t.Helper()
		sd, err := windows.SecurityDescriptorFromString(sddl)
		if err != nil {
			t.Fatal(err)
		}
		dacl, _, err := sd.DACL()
		if err == nil {
			err = windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const closed, open = "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1200a9;;;WD)", "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1301bf;;;WD)"
	for _, path := range []string{dir, sub, file} {
		allow(path, closed)
	}
	if othersWrite(file) {
		t.Error("what users only read and run counts as theirs")
	}
	for _, path := range []string{dir, sub, file} {
		allow(path, open)
		if !othersWrite(file) {
			t.Errorf("users may change %s", path)
		}
		allow(path, closed)
	}
	if !othersWrite(filepath.Join(sub, "gone.exe")) {
		t.Error("what can't be looked at counts as closed")
	}
}
