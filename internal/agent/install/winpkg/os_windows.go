package winpkg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
)

// onlyAdministrators lets the system and administrators in, and nobody else,
// whatever the folder above says: a DLL that a user could put beside an
// installer would run with all rights.
const onlyAdministrators = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"

// freshFolder makes an empty folder, with its parent, for the system alone.
func freshFolder(dir string) error {
	if err := atomicfile.RemoveTree(dir); err != nil {
		return fault.Wrap(err, fault.Unavailable, "winpkg: can't clear the work folder")
	}
	sd, err := windows.SecurityDescriptorFromString(onlyAdministrators)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "winpkg: can't protect the work folder")
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	for _, d := range []string{filepath.Dir(dir), dir} {
		name, err := windows.UTF16PtrFromString(d)
		if err == nil {
			err = windows.CreateDirectory(name, sa)
		}
		if err != nil && (d == dir || !errors.Is(err, windows.ERROR_ALREADY_EXISTS)) {
			return fault.Wrap(err, diskCode(err), "winpkg: can't make the work folder")
		}
	}
	return nil
}

// openLocked opens the file for reading and lets others do no more than that
// as long as it is open. It fails while somebody may write to it.
func openLocked(path string) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "winpkg: the payload's path")
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "winpkg: can't open the payload for itself alone")
	}
	return os.NewFile(uintptr(h), path), nil
}

// installing says that Windows Installer is at work, or "". It holds the mutex
// _MSIExecute while it processes a sequence (Windows Installer SDK, "_MSIExecute
// Mutex").
func installing() string {
	name, err := windows.UTF16PtrFromString(`Global\_MSIExecute`)
	if err != nil {
		return ""
	}
	m, err := windows.OpenMutex(windows.SYNCHRONIZE, false, name)
	if err != nil {
		return ""
	}
	defer func() { _ = windows.CloseHandle(m) }()
	runtime.LockOSThread() // a mutex belongs to a thread
	defer runtime.UnlockOSThread()
	if event, err := windows.WaitForSingleObject(m, 0); err == nil && event != uint32(windows.WAIT_TIMEOUT) {
		_ = windows.ReleaseMutex(m)
		return ""
	}
	return "Windows Installer is at work with another installation"
}

// stillRuns names what was begun from the folder and has not ended, or "".
func stillRuns(dir string) string {
	if why := installing(); why != "" {
		return why
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return strings.Join(below(dir), ", ")
}

// below names the processes whose program lies below the folder.
func below(dir string) []string {
	var out []string
	prefix := strings.ToLower(strings.TrimRight(dir, `\`)) + `\`
	for _, p := range processes() {
		if strings.HasPrefix(strings.ToLower(image(p.ProcessID)), prefix) {
			out = append(out, fmt.Sprintf("%s (process %d)", windows.UTF16ToString(p.ExeFile[:]), p.ProcessID))
		}
	}
	return out
}

func processes() []windows.ProcessEntry32 {
	snap, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = windows.CloseHandle(snap) }()
	var out []windows.ProcessEntry32
	e := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	for err = windows.Process32First(snap, &e); err == nil; err = windows.Process32Next(snap, &e) {
		out = append(out, e)
	}
	return out
}

// image is the path of a process's program, or "" where it can't be told.
func image(pid uint32) string {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return ""
	}
	defer func() { _ = windows.CloseHandle(h) }()
	buf := make([]uint16, 32<<10)
	n := uint32(len(buf))
	if err := windows.QueryFullProcessImageName(h, 0, &buf[0], &n); err != nil {
		return ""
	}
	return windows.UTF16ToString(buf[:n])
}

// suspended says that Windows Installer has an installation that it did not
// finish.
func suspended() string {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Windows\CurrentVersion\Installer\InProgress`, registry.READ|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	_ = k.Close()
	return "Windows Installer has suspended an installation; it takes it back when the next one begins"
}

// watchPause is how often a running installer is looked at.
const watchPause = 2 * time.Second

// observe watches, until stop is called, for windows of the processes that
// this one has started, and tells of each once; stop returns those that were
// open when it looked last.
func observe(ctx context.Context, seen func(title string)) (stop func() []string) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan []string, 1)
	go func() {
		w := newWatch()
		told := map[string]bool{}
		for pause(ctx, watchPause) {
			w.look()
			for _, t := range w.titles {
				if !told[t] {
					told[t] = true
					seen(t)
				}
			}
		}
		done <- w.titles
	}()
	return func() []string {
		cancel()
		return <-done
	}
}

// watch follows the family of this process.
type watch struct {
	family   map[uint32]bool
	titles   []string
	found    []string
	callback uintptr // each one made stays for ever, so there is one for each installer
}

func newWatch() *watch {
	w := &watch{family: map[uint32]bool{uint32(os.Getpid()): true}}
	w.callback = windows.NewCallback(func(h windows.HWND, _ uintptr) uintptr {
		w.window(h)
		return 1
	})
	return w
}

// look notes the windows that are open now.
func (w *watch) look() {
	for more := true; more; {
		more = false
		for _, p := range processes() {
			if w.family[p.ParentProcessID] && !w.family[p.ProcessID] {
				w.family[p.ProcessID], more = true, true
			}
		}
	}
	w.found = nil
	if err := windows.EnumWindows(w.callback, nil); err == nil {
		w.titles = w.found
	}
}

func (w *watch) window(h windows.HWND) {
	var pid uint32
	if _, err := windows.GetWindowThreadProcessId(h, &pid); err != nil || !w.family[pid] || pid == uint32(os.Getpid()) || !windows.IsWindowVisible(h) {
		return
	}
	text := make([]uint16, 256)
	n, _, _ := windows.NewLazySystemDLL("user32.dll").NewProc("GetWindowTextW").Call(uintptr(h), uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
	title := fmt.Sprintf("%q", windows.UTF16ToString(text[:min(int(n), len(text))]))
	if !slices.Contains(w.found, title) {
		w.found = append(w.found, title)
	}
}

// systemFolder is a folder on the system's disk.
func systemFolder() string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		return `C:\`
	}
	return dir
}

// systemProgram is the path of one of Windows' own programs.
func systemProgram(name string) string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		return name
	}
	return filepath.Join(dir, name+".exe")
}
