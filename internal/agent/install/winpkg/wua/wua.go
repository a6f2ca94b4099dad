// Package wua installs updates through the Windows Update Agent: it searches by
// an update's own id, online (Windows Update, or the WSUS server that the
// machine is set to) or offline in Microsoft's wsusscn2.cab, downloads, and
// installs.
//
// Everything goes through Session, a small interface over Microsoft's
// documented COM objects (learn.microsoft.com/windows/win32/api/wuapi):
// IUpdateSession, IUpdateSearcher, IUpdateServiceManager, IUpdateDownloader,
// IUpdateInstaller. COM opens it on this machine.
//
// # The manifest
//
// Kind is "wua". Argv is the UpdateID (a GUID) and, when only one revision will
// do, the RevisionNumber. Payloads may be none: then the machine searches and
// downloads where it is set to. A payload named wsusscn2.cab makes the search
// offline; other payloads are the update's own files, which are put into the
// agent's cache (IUpdate2.CopyToCache) instead of a download. All of them are
// held against their hash and Microsoft's signature first, as every payload is.
package wua

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// ID is an update's identity (IUpdateIdentity).
type ID struct {
	Update   string // GUID, without braces
	Revision int    // 0 means any
}

// Update is what a search tells of one (IUpdate).
type Update struct {
	ID        ID
	Title     string
	KBs       []string // without "KB"
	Severity  string   // MsrcSeverity
	Installed bool
	// Downloaded says that its files are in the agent's cache.
	Downloaded bool
	// AsksUser says that its installer may want input, so that nobody can
	// install it unseen (IInstallationBehavior.CanRequestUserInput).
	AsksUser bool
}

// Code is an OperationResultCode.
type Code int

// The codes, as wuapi.h numbers them.
const (
	NotStarted          Code = 0
	InProgress          Code = 1
	Succeeded           Code = 2
	SucceededWithErrors Code = 3
	Failed              Code = 4
	Aborted             Code = 5
)

// String is the code's name for people.
func (c Code) String() string {
	names := []string{"not started", "in progress", "succeeded", "succeeded with errors", "failed", "aborted"}
	if c < 0 || int(c) >= len(names) {
		return "result code " + strconv.Itoa(int(c))
	}
	return names[c]
}

// Result is what a download or an installation came to.
type Result struct {
	Code    Code
	HResult uint32
	Reboot  bool
}

// Event is an entry of the machine's update history.
type Event struct {
	ID        ID
	Title     string
	At        time.Time
	Uninstall bool
	Result    Result
}

// Query says what to search and where.
type Query struct {
	ID ID
	// ScanFile is the path of a wsusscn2.cab; empty searches where the
	// machine is set to.
	ScanFile string
}

// Session is Windows Update on this machine. Its errors are faults; COM's
// HRESULTs are put into words.
type Session interface {
	// Search finds updates and keeps them for the other methods.
	Search(ctx context.Context, q Query) ([]Update, error)
	// Download brings an update that Search has found; files, when given,
	// are put into the cache instead.
	Download(ctx context.Context, id ID, files []string) (Result, error)
	// Install installs or, with remove, uninstalls an update that Search
	// has found.
	Install(ctx context.Context, id ID, remove bool) (Result, error)
	// History lists what was last installed, the newest first.
	History(ctx context.Context, most int) ([]Event, error)
	// Close lets go of everything.
	Close()
}

// Installer installs patches of the kind wua.
type Installer struct {
	open func(ctx context.Context) (Session, error)
}

// New returns the kind; open is COM on a real machine.
func New(open func(ctx context.Context) (Session, error)) Installer { return Installer{open} }

// Extension implements winpkg.Kind: payloads are optional.
func (Installer) Extension() string { return "" }

// Registers implements winpkg.Kind.
func (Installer) Registers() bool { return false }

// Install implements winpkg.Kind.
func (in Installer) Install(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	return in.change(ctx, w, w.Patch.Install.Argv, false)
}

// Uninstall implements winpkg.Kind; UninstallArgv has the form of Argv.
func (in Installer) Uninstall(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	return in.change(ctx, w, w.Patch.Install.UninstallArgv, true)
}

func (in Installer) change(ctx context.Context, w *winpkg.Work, argv []string, remove bool) (winpkg.Outcome, error) {
	id, err := parseID(argv)
	if err != nil {
		return winpkg.Outcome{}, err
	}
	s, err := in.open(ctx)
	if err != nil {
		return winpkg.Outcome{}, err
	}
	defer s.Close()
	q := Query{ID: id}
	var files []string
	for _, f := range w.Payloads {
		if strings.EqualFold(filepath.Base(strings.ReplaceAll(f, `\`, "/")), "wsusscn2.cab") {
			q.ScanFile = f
		} else {
			files = append(files, f)
		}
	}
	w.Report("searching with Windows Update")
	u, out, err := find(ctx, s, q, remove)
	if err != nil || u == nil {
		return out, err
	}
	if !remove && !u.Downloaded {
		w.Report("downloading " + u.Title)
		r, err := s.Download(ctx, u.ID, files)
		if err != nil {
			return winpkg.Outcome{}, err
		}
		if r.Code != Succeeded && r.Code != SucceededWithErrors {
			return judge(r, "its download"), nil
		}
	}
	w.Report("Windows Update works on " + u.Title)
	r, err := s.Install(ctx, u.ID, remove)
	if err != nil {
		return winpkg.Outcome{}, err
	}
	what := "its installation"
	if remove {
		what = "its removal"
	}
	out = judge(r, what)
	out.Output = strings.TrimSpace(u.Title + ": " + r.Code.String() + "\n" + history(ctx, s, u.ID))
	return out, nil
}

// find returns the update, or the outcome when there is nothing to do.
func find(ctx context.Context, s Session, q Query, remove bool) (*Update, winpkg.Outcome, error) {
	found, err := s.Search(ctx, q)
	if err != nil {
		return nil, winpkg.Outcome{}, err
	}
	notNeeded := func(why string) (*Update, winpkg.Outcome, error) {
		return nil, winpkg.Outcome{Meaning: patch.ExitNotNeeded, Reason: why}, nil
	}
	switch {
	case len(found) == 0:
		return notNeeded("Windows Update does not offer it to this machine")
	case found[0].Installed != remove && !remove:
		return notNeeded("Windows Update lists it as installed")
	case !found[0].Installed && remove:
		return notNeeded("Windows Update does not list it as installed")
	case found[0].AsksUser:
		return nil, winpkg.Outcome{Meaning: patch.ExitFailed, Reason: "its installer may ask questions that nobody can answer"}, nil
	}
	return &found[0], winpkg.Outcome{}, nil
}

// history adds what the machine's own record says of the update.
func history(ctx context.Context, s Session, id ID) string {
	events, err := s.History(ctx, 20)
	if err != nil {
		return ""
	}
	for _, e := range events {
		if strings.EqualFold(e.ID.Update, id.Update) {
			return fmt.Sprintf("update history: %s, %s at %s", e.Title, e.Result.Code, e.At.UTC().Format(time.RFC3339))
		}
	}
	return ""
}

// judge turns a result into an outcome. "Succeeded with errors" is a failure
// unless the HRESULT says that a restart is due: what is installed is for the
// agent's own check to say.
func judge(r Result, what string) winpkg.Outcome {
	out := winpkg.Outcome{Code: int64(r.HResult)}
	why := Words(r.HResult)
	switch {
	case r.Code == Succeeded && (r.Reboot || r.HResult == sRebootRequired), r.HResult == sRebootRequired:
		out.Meaning, out.Reason = patch.ExitRebootDue, "done; a restart is due"
	case r.Code == Succeeded:
		out.Meaning = patch.ExitOK
	case busy(r.HResult):
		out.Meaning, out.Reason = patch.ExitBusy, why
	case r.HResult == sAlreadyInstalled || r.HResult == eNotApplicable:
		out.Meaning, out.Reason = patch.ExitNotNeeded, why
	case r.Code == Aborted:
		out.Meaning, out.Reason = patch.ExitUserCanceled, what+" was cancelled: "+why
	default:
		out.Meaning, out.Reason = patch.ExitFailed, what+" "+r.Code.String()+": "+why
	}
	return out
}

// parseID reads the manifest's words. The id goes into a search criterion, so
// nothing but a GUID is taken.
func parseID(argv []string) (ID, error) {
	bad := fault.New(fault.Invalid, "wua: the signed manifest does not name the update: an UpdateID, and perhaps a RevisionNumber, are wanted")
	if len(argv) == 0 || len(argv) > 2 || !isUpdateID(argv[0]) {
		return ID{}, bad
	}
	id := ID{Update: strings.ToLower(argv[0])}
	if len(argv) == 2 {
		n, err := strconv.ParseUint(argv[1], 10, 31)
		if err != nil || n == 0 {
			return ID{}, bad
		}
		id.Revision = int(n)
	}
	return id, nil
}

// isUpdateID reports a GUID without braces.
func isUpdateID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := c >= '0' && c <= '9' || (c|0x20) >= 'a' && (c|0x20) <= 'f'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}

// Criteria is the search expression (IUpdateSearcher.Search).
func (q Query) Criteria() string {
	c := "UpdateID='" + q.ID.Update + "'"
	if q.ID.Revision > 0 {
		c += " and RevisionNumber=" + strconv.Itoa(q.ID.Revision)
	}
	return c
}
