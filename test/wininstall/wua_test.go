package wininstall

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/test/wininstall/driver/drive"
)

// update is an update of the stand-in's catalogue.
type update struct {
	id     string
	fields string
}

// offer puts updates into the stand-in's catalogue.
func (m *machine) offer(session string, all ...update) {
	m.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "[session]\r\n%s\r\ncount=%d\r\n", session, len(all)) // the first count counts
	for i, u := range all {
		fmt.Fprintf(&b, "[%d]\r\nid=%s\r\nrev=200\r\ntitle=Update %d\r\nkb=509900%d\r\n%s\r\n", i+1, u.id, i+1, i+1, strings.ReplaceAll(u.fields, " ", "\r\n"))
	}
	must(m.t, m.host.WriteFile(`C:\wua\catalogue.ini`, []byte(b.String())))
	must(m.t, m.host.Remove(`C:\wua\calls.txt`))
}

// calls are what the stand-in was asked for since the last offer.
func (m *machine) calls() string {
	m.t.Helper()
	text, err := m.host.ReadFile(`C:\wua\calls.txt`)
	must(m.t, err)
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// standIn registers the stand-in for the Windows Update Agent.
func (m *machine) standIn() {
	m.t.Helper()
	dll := filepath.Join(m.t.TempDir(), "wuafake.dll")
	cmd := exec.CommandContext(m.ctx, "x86_64-w64-mingw32-gcc-posix", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-shared", "-o", dll,
		filepath.Join("source", "wuafake.c"), "-lole32", "-loleaut32", "-luuid", "-ladvapi32")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	must(m.t, m.host.CopyIn(dll, `C:\wua\wuafake.dll`))
	for name, clsid := range map[string]string{
		"Session": "{4CB43D7F-7EEE-4906-8698-60DA1C38F2FE}", "UpdateColl": "{13639463-00DB-4646-803D-528026140D88}",
		"StringColl": "{72C97D74-7C3B-40AE-B77D-ABDB22EBA6FB}", "ServiceManager": "{F8D253D9-89A4-4DAA-87B6-1168369F0B21}",
	} {
		for key, value := range map[string]string{
			`HKLM\Software\Classes\Microsoft.Update.` + name + `\CLSID`: clsid,
			`HKLM\Software\Classes\CLSID\` + clsid + `\InprocServer32`:  `C:\wua\wuafake.dll`,
		} {
			_, err := m.host.Run(m.ctx, "reg", "add", key, "/ve", "/d", value, "/f")
			must(m.t, err)
		}
		must(m.t, m.host.SetRegistry(m.ctx, `HKLM\Software\Classes\CLSID\`+clsid+`\InprocServer32`, "ThreadingModel", "Both"))
	}
}

// testWUA: Fettle's session with the Windows Update Agent, over real COM, to a
// stand-in. What a real agent does besides is not tested here.
func testWUA(m *machine) {
	t := m.t
	const one, two = "a6a1a2a3-0001-4000-8000-00000000000a", "a6a1a2a3-0002-4000-8000-00000000000b"
	yes, no := true, false
	p := patch.Patch{
		ID: "microsoft:kb5099001", Platform: "windows-10-1903-amd64", Product: "KB5099001", Version: "1",
		Install:    patch.Manifest{Kind: "wua", Argv: []string{strings.ToUpper(one)}, UninstallArgv: []string{one, "200"}},
		Applicable: &detect.Rule{Always: &yes}, Installed: &detect.Rule{Always: &no},
	}
	install := drive.Request{Do: "install", Patches: []patch.Patch{p}, Timeout: 10 * time.Minute}

	got := m.drive(install) // before the stand-in is there: Wine's own session can't search
	if len(got.Result.Failures) != 1 || !strings.Contains(got.Result.Failures[0].Reason, "E_NOTIMPL") {
		t.Errorf("Wine's own: %s %+v", got.Cause, got.Result)
	}
	m.standIn()

	m.offer("", update{two, ""}, update{one, "reboot=1"})
	got = m.drive(install)
	if got.Error != "" || !got.Result.RebootDue || len(got.Result.Failures) > 0 || !strings.Contains(got.Result.Output, "update history: Update 2, succeeded at 2026-11-22T12:00:00Z") {
		t.Errorf("install: %s %+v\n%v", got.Cause, got.Result, got.Lines)
	}
	want := "search UpdateID='" + one + "'\neula \ndownload " + one + "\ninstall " + one + "\n"
	if calls := m.calls(); calls != want {
		t.Errorf("the agent was asked for\n%s", calls)
	}
	got = m.drive(install)
	if got.Error != "" || len(got.Result.Failures) > 0 || !strings.Contains(got.Result.Output, "lists it as installed") {
		t.Errorf("again: %s %+v", got.Cause, got.Result)
	}

	// Offline: with Microsoft's scan file and the update's own file.
	offline := p
	offline.Items = []patch.Item{{Payload: m.cabinet("wsusscn2.cab")}, {Payload: m.cabinet("windows10.0-kb5099001-x64.cab")}}
	m.offer("", update{one, ""})
	got = m.drive(drive.Request{Do: "install", Patches: []patch.Patch{offline}, Dir: `C:\fettle\offline`})
	if got.Error != "" || len(got.Result.Failures) > 0 || got.Result.RebootDue {
		t.Errorf("offline: %s %+v", got.Cause, got.Result)
	}
	want = `scanfile C:\fettle\offline\windows\0\wsusscn2.cab` + "\noffline 11111111-2222-3333-4444-555555555555\nsearch UpdateID='" + one + "'\neula \n" +
		`file C:\fettle\offline\windows\0\windows10.0-kb5099001-x64.cab` + "\ncopy \ninstall " + one + "\nremove 11111111-2222-3333-4444-555555555555\n"
	if calls := m.calls(); calls != want {
		t.Errorf("offline, the agent was asked for\n%s", calls)
	}

	// Rollback takes a certain revision off.
	m.offer("", update{one, "installed=1"})
	got = m.drive(drive.Request{Do: "install", Operation: "rollback", Patches: []patch.Patch{listed(p)}})
	if calls := m.calls(); got.Error != "" || len(got.Result.Failures) > 0 || calls != "search UpdateID='"+one+"' and RevisionNumber=200\nuninstall "+one+"\n" {
		t.Errorf("rollback: %s %+v\n%s", got.Cause, got.Result, calls)
	}

	for _, tc := range []struct{ name, session, fields, want string }{
		{"not offered", "count=0", "", ""},
		{"failed", "", "rc=4 hr=0x80240022", "its installation failed: 0x80240022: every update of the operation failed"},
		{"aborted", "", "rc=5 hr=0x8024000B", "its installation was cancelled: 0x8024000B: it was cancelled"},
		{"download", "", "download_rc=4 download_hr=0x80240034", "its download failed: 0x80240034: the download failed"},
		{"asks", "", "asks=1", "its installer may ask questions"},
		{"restart first", "restart_first=1", "", "a restart is due before anything more can be changed"},
	} {
		m.offer(tc.session, update{one, tc.fields})
		got := m.drive(install)
		switch {
		case got.Error != "":
			t.Errorf("%s: %s", tc.name, got.Cause)
		case tc.want == "" && (len(got.Result.Failures) > 0 || !strings.Contains(got.Result.Output, "does not offer it")):
			t.Errorf("%s: %+v", tc.name, got.Result)
		case tc.want != "" && (len(got.Result.Failures) != 1 || !strings.Contains(got.Result.Failures[0].Reason, tc.want)):
			t.Errorf("%s: %+v", tc.name, got.Result)
		}
	}
	m.offer("search_hr=0x8024402C", update{one, ""})
	if got := m.drive(install); got.Code != fault.Unavailable || !strings.Contains(got.Error, "failed to search: 0x8024402C: the update server's name can't be resolved") {
		t.Errorf("search: %s %s %+v", got.Code, got.Cause, got.Result)
	}
	m.offer("busy=1", update{one, ""})
	install.Timeout = 20 * time.Second
	if got := m.drive(install); got.Code != fault.Unavailable || !strings.Contains(got.Error, "another installation is at work") {
		t.Errorf("busy: %s %s %+v", got.Code, got.Cause, got.Result)
	}
}

// listed is the patch on a machine whose scan finds it.
func listed(p patch.Patch) patch.Patch {
	yes := true
	p.Installed = &detect.Rule{Always: &yes}
	return p
}
