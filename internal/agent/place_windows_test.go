package agent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/fault"
)

// onWine reports whether the test runs under Wine, which keeps Unix modes in
// place of access lists.
func onWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// granted reads an access list: what each SID may do, and whether what the
// folder above hands down is cut off.
func granted(t *testing.T, sd *windows.SECURITY_DESCRIPTOR) (may map[string]windows.ACCESS_MASK, protected bool) {
	t.Helper()
	control, _, err := sd.Control()
	check(t, err)
	dacl, _, err := sd.DACL()
	check(t, err)
	may = map[string]windows.ACCESS_MASK{}
	for i := range dacl.AceCount {
		var ace *windows.ACCESS_ALLOWED_ACE
		check(t, windows.GetAce(dacl, uint32(i), &ace))
		if ace.Header.AceType == windows.ACCESS_ALLOWED_ACE_TYPE {
			may[(*windows.SID)(unsafe.Pointer(&ace.SidStart)).String()] |= ace.Mask
		}
	}
	return may, control&windows.SE_DACL_PROTECTED != 0
}

const (
	system         = "S-1-5-18"
	administrators = "S-1-5-32-544"
	everything     = windows.ACCESS_MASK(0x1f01ff) // FILE_ALL_ACCESS
)

// TestStateIsPrivate reads the access list back: the one that is asked for, that
// of the folder, and that of the key in it, which takes the folder's.
func TestStateIsPrivate(t *testing.T) {
	asked, err := windows.SecurityDescriptorFromString(private)
	check(t, err)
	may, protected := granted(t, asked)
	if !protected || len(may) != 2 || may[system] != everything || may[administrators] != everything {
		t.Errorf("asked for: %x, protected %v", may, protected)
	}
	d := Dir(filepath.Join(tempDir(t), "state"))
	check(t, d.make())
	check(t, d.make()) // a second time changes nothing
	check(t, writeJSON(d.key(), "secret"))
	for _, path := range []string{string(d), d.path("identity"), d.key()} {
		sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
		check(t, err)
		may, protected := granted(t, sd)
		if may[system] != everything {
			t.Errorf("%s: the system may do %x", path, may[system])
		}
		if onWine() {
			t.Logf("%s: Wine makes of its Unix mode %x", path, may)
			continue
		}
		if path == string(d) && !protected {
			t.Errorf("%s takes rights from the folder above", path)
		}
		for sid, mask := range may {
			if sid != system && sid != administrators {
				t.Errorf("%s: %s may do %x", path, sid, mask)
			}
		}
	}
}

// TestForeignFolderIsRefused: whoever made the folder before the agent may have
// put anything into it. Wine lets nobody give a folder away, so the decision is
// tried by itself.
func TestForeignFolderIsRefused(t *testing.T) {
	file := filepath.Join(tempDir(t), "state")
	check(t, os.WriteFile(file, nil, 0o600))
	if err := Dir(file).make(); !fault.Is(err, fault.Untrusted) || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("a file in its place gives %v", err)
	}
	sid := func(text string) *windows.SID {
		s, err := windows.StringToSid(text)
		check(t, err)
		return s
	}
	const me, other = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
	for owner, want := range map[string]bool{system: true, administrators: true, me: true, other: false, "S-1-1-0": false, "S-1-5-32-545": false} {
		if got := mayOwn(sid(owner), sid(me)); got != want {
			t.Errorf("a folder of %s: %v", owner, got)
		}
	}
}

func TestLockIsExclusive(t *testing.T) {
	path := filepath.Join(tempDir(t), "lock")
	unlock, err := lock(t.Context(), path)
	check(t, err)
	brief, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := lock(brief, path); !fault.Is(err, fault.Cancelled) {
		t.Errorf("a second lock gives %v", err)
	}
	unlock()
	again, err := lock(t.Context(), path)
	check(t, err)
	again()
}

// TestReplaceWhatIsRead: a scan by a person holds the catalog open while a new
// one comes.
func TestReplaceWhatIsRead(t *testing.T) {
	d := Dir(tempDir(t))
	check(t, d.make())
	path := d.Shard("p")
	check(t, os.WriteFile(path, []byte("old"), 0o600))
	reader, err := openShared(path)
	check(t, err)
	check(t, os.WriteFile(path+".new", []byte("new"), 0o600))
	check(t, replace(path+".new", path))
	if got := readFile(t, path); got != "new" {
		t.Errorf("the file holds %q", got)
	}
	old := make([]byte, 3)
	if _, err := reader.ReadAt(old, 0); err != nil || string(old) != "old" {
		t.Errorf("the reader gets %q, %v", old, err)
	}
	check(t, reader.Close())
	check(t, dropShards(d, []string{"p"}))
	left, err := os.ReadDir(d.path("shards"))
	check(t, err)
	if len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestVanishing(t *testing.T) {
	t.Setenv("TMP", tempDir(t))
	f, err := createVanishing()
	check(t, err)
	_, err = f.WriteString("bytes")
	check(t, err)
	check(t, f.Close())
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestPackagesChanged(t *testing.T) {
	newMachine(t)
	now := time.Now()
	if packagesChanged("/", now.Add(time.Minute)) {
		t.Error("something has changed in the future")
	}
	check(t, scripted{}.set("svc", "1.1"))
	if !packagesChanged("/", now.Add(-time.Second)) {
		t.Error("the change of a product is not seen")
	}
}
