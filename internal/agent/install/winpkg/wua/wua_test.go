package wua

import (
	"context"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
)

const update = "a6a1a2a3-0001-4000-8000-00000000000a"

func TestParseID(t *testing.T) {
	if id, err := parseID([]string{strings.ToUpper(update), "201"}); err != nil || id != (ID{update, 201}) || (Query{ID: id}).Criteria() != "UpdateID='"+update+"' and RevisionNumber=201" {
		t.Errorf("%+v %v", id, err)
	}
	for _, bad := range [][]string{nil, {""}, {update + "' or IsInstalled=0 or UpdateID='"}, {"{" + update + "}"}, {update, "0"}, {update, "-1"}, {update, "1", "2"}, {update, "99999999999"}} {
		if _, err := parseID(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzCriteria: whatever a manifest says, the search expression has no more
// than one id and one revision.
func FuzzCriteria(f *testing.F) {
	f.Add(update, "7")
	f.Add("' or 1=1", "1 or 1=1")
	f.Fuzz(func(t *testing.T, id, revision string) {
		for _, argv := range [][]string{{id}, {id, revision}} {
			got, err := parseID(argv)
			if err != nil {
				continue
			}
			c := Query{ID: got}.Criteria()
			if strings.Count(c, "'") != 2 || len(c) > len("UpdateID='' and RevisionNumber=")+36+10 {
				t.Errorf("%q: %s", argv, c)
			}
		}
	})
}

func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		r    Result
		want patch.ExitMeaning
		why  string
	}{
		{Result{Code: Succeeded}, patch.ExitOK, ""},
		{Result{Code: Succeeded, Reboot: true}, patch.ExitRebootDue, "restart"},
		{Result{Code: Succeeded, HResult: sRebootRequired}, patch.ExitRebootDue, "restart"},
		{Result{Code: Failed, HResult: eInProgress}, patch.ExitBusy, "0x80240016"},
		{Result{Code: Failed, HResult: sAlreadyInstalled}, patch.ExitNotNeeded, "installed already"},
		{Result{Code: Failed, HResult: eNotApplicable}, patch.ExitNotNeeded, "does not apply"},
		{Result{Code: Failed, HResult: 0x800F0922}, patch.ExitFailed, "it failed: 0x800F0922: its installers failed"},
		{Result{Code: SucceededWithErrors, HResult: 0x80240022}, patch.ExitFailed, "it succeeded with errors: 0x80240022"},
		{Result{Code: Aborted}, patch.ExitUserCanceled, "cancelled"},
		{Result{Code: NotStarted, HResult: 0x12345678}, patch.ExitFailed, "it not started: 0x12345678: an error that Fettle has no words for"},
		{Result{Code: 9}, patch.ExitFailed, "result code 9"},
	} {
		if got := judge(tc.r, "it"); got.Meaning != tc.want || !strings.Contains(got.Reason, tc.why) {
			t.Errorf("%+v: %+v", tc.r, got)
		}
	}
	for hr, words := range table() {
		if words == "" || strings.HasSuffix(words, ".") {
			t.Errorf("0x%08X: %q", hr, words)
		}
	}
}

// hung is a session that never answers a search.
type hung struct{ Session }

func (hung) Search(ctx context.Context, _ Query) ([]Update, error) {
	<-ctx.Done()
	return nil, fault.Wrap(ctx.Err(), fault.Cancelled, "time")
}

func (hung) Close() {}

// TestHung: the session's time is the job's. How a session works otherwise is
// tested over real COM (test/wininstall).
func TestHung(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in := New(func(context.Context) (Session, error) { return hung{}, nil })
	w := winpkg.NewWork(run.OS{}, patch.Patch{Install: patch.Manifest{Argv: []string{update}}}, t.TempDir(), nil, func(string) {})
	if _, err := in.Install(ctx, w); !fault.Is(err, fault.Cancelled) {
		t.Errorf("%v", err)
	}
	if _, err := COM(ctx); err == nil {
		t.Error("there is a Windows Update where there is no Windows")
	}
}
