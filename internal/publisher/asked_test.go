package publisher_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher"
)

// asked are patches of each source, with the catalog slice that they are in.
func asked() map[patch.ID]string {
	return map[patch.ID]string{
		"windows-server-2019:amd64:KB" + catalogKB: "windows-server-2019-amd64", "wsus:" + wordUpdate: "windows-apps-amd64",
		"dotnet:runtime:31.0.9:x64:amd64": "windows-apps-amd64", "sdp:maker:aa:amd64": "windows-apps-amd64",
	}
}

// TestProveWhatNoIndexVouchesFor: what a person asks for is fetched and proven
// now, published and installable with the next run, remembered over restarts,
// and gone when it is taken back; the same for every source.
func TestProveWhatNoIndexVouchesFor(t *testing.T) {
	w, _ := askedWorld(t)
	if r := w.once(); len(r.Rejected) > 0 {
		t.Fatalf("%+v", r)
	}
	var ids []patch.ID
	for id, platform := range asked() {
		ids = append(ids, id)
		if p := w.patch(platform, id); !p.Bulletin() {
			t.Fatalf("%s: %+v", id, p.Evidence)
		}
	}
	slices.Sort(ids)
	got, err := w.p.Prove(t.Context(), append(slices.Clone(ids), "sdp:maker:bb:amd64"), "ada", nil)
	if err != nil || len(got) != len(ids)+1 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, g := range got[:len(ids)] {
		if !g.OK || g.Untried || g.Reason != "" {
			t.Errorf("%+v", g)
		}
	}
	if bad := got[len(ids)]; bad.OK || !strings.Contains(bad.Reason, "signed by Taker Inc (Taker Inc Organization), but sp2 must be signed by Maker Inc") {
		t.Errorf("%+v", bad)
	}
	if !w.patch("windows-apps-amd64", "sdp:maker:aa:amd64").Bulletin() {
		t.Error("it is published before the next run")
	}
	if err := publisher.Forget(w.cfg, []patch.ID{"sdp:maker:bb:amd64"}); err != nil {
		t.Fatal(err)
	}
	w.installable(ids)
	if again := w.once(); again.Changed {
		t.Error("a second run without news makes a new catalog")
	}
	again, err := w.p.Prove(t.Context(), ids[:1], "bob", nil)
	if err != nil || !again[0].OK {
		t.Errorf("once more: %+v, %v", again, err)
	}
	all, err := publisher.Requests(w.cfg)
	if err != nil || len(all) != len(ids) {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, r := range all {
		if r.Patch != ids[i] || r.Who != "ada" || !r.At.Equal(day1) {
			t.Errorf("%+v", r)
		}
	}
	w.p.Close()
	w.open()
	if again := w.once(); again.Changed {
		t.Error("what was asked for is forgotten with the process")
	}
	w.forgotten(ids)
}

// installable publishes, and holds what is published against what was asked.
func (w *world) installable(ids []patch.ID) {
	w.t.Helper()
	if r := w.once(); len(r.Rejected) > 0 || !r.Changed {
		w.t.Errorf("%+v", r)
	}
	for _, id := range ids {
		p := w.patch(asked()[id], id)
		if p.Evidence.Verdict != patch.Proven || len(p.Items) != 1 || len(p.Items[0].Payload.SHA256) != 64 || p.Items[0].Payload.Signer == "" {
			w.t.Errorf("%s: %+v %+v", id, p.Evidence, p.Items)
		}
	}
	if err := w.p.Stage(w.t.Context(), ids, nil); err != nil {
		w.t.Errorf("staging: %v", err)
	}
}

// forgotten takes everything back.
func (w *world) forgotten(ids []patch.ID) {
	w.t.Helper()
	if err := publisher.Forget(w.cfg, ids); err != nil {
		w.t.Fatal(err)
	}
	if err := publisher.Forget(w.cfg, ids[:1]); !fault.Is(err, fault.NotFound) {
		w.t.Errorf("taken back twice: %v", err)
	}
	w.once()
	for _, id := range ids {
		if p := w.patch(asked()[id], id); !p.Bulletin() || len(p.Install.Argv) > 0 {
			w.t.Errorf("%s: %+v", id, p)
		}
	}
	for _, path := range w.blobs() {
		if head := string(read(w.t, path)); strings.HasPrefix(head, "MZ") || strings.HasPrefix(head, "MSCF") || strings.HasPrefix(head, "\xd0\xcf\x11\xe0") {
			w.t.Errorf("%s is kept", path)
		}
	}
}

// blobs are the files that the sources keep.
func (w *world) blobs() []string {
	w.t.Helper()
	all, err := filepath.Glob(filepath.Join(w.cfg.Data, "sources", "*", "blobs", "*"))
	if err != nil || len(all) == 0 {
		w.t.Fatal(all, err)
	}
	return all
}

// TestProveWhileAPublisherRuns: a request that is only written down is taken up
// by the next run; one that no source can do anything for is told.
func TestProveWhileAPublisherRuns(t *testing.T) {
	w, _ := askedWorld(t)
	w.once()
	if err := publisher.Ask(w.cfg, []patch.ID{"sdp:maker:aa:amd64", "sdp:gone:x:amd64"}, "ada", day1); err != nil {
		t.Fatal(err)
	}
	r := w.once()
	if w.patch("windows-apps-amd64", "sdp:maker:aa:amd64").Bulletin() {
		t.Error("the run did not take it up")
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "no source offers sdp:gone:x:amd64 any more") {
		t.Errorf("%q", r.Notes)
	}
	if s, _ := w.shard("windows-apps-amd64"); len(s.Header().Notes) > 0 {
		t.Errorf("what the operator asked for is told to everybody: %q", s.Header().Notes)
	}
	for _, id := range []patch.ID{"", "x", "../../etc/passwd", "a:b\nc", patch.ID("a:" + strings.Repeat("b", 400))} {
		if err := publisher.Ask(w.cfg, []patch.ID{id}, "ada", day1); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
	put(t, filepath.Join(w.cfg.Data, "requests", "odd.json"), []byte("{"))
	if all, err := publisher.Requests(w.cfg); !fault.Is(err, fault.Invalid) || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	if r := w.once(); r.Changed {
		t.Error("a damaged request changes what is published")
	}
}

// TestProveInVain: what can't be had or proven is told, and a patch of which no
// source knows a payload is not remembered.
func TestProveInVain(t *testing.T) {
	w, _ := askedWorld(t)
	w.once()
	if err := os.Remove(strings.TrimPrefix(w.installerOf("aa.sdp"), "file://")); err != nil {
		t.Fatal(err)
	}
	const old = "windows-server-2019:amd64:KB9000001"
	got, err := w.p.Prove(t.Context(), []patch.ID{"sdp:maker:aa:amd64", "sdp:maker:aa:arm64x"}, "ada", nil)
	if !fault.Is(err, fault.NotFound) {
		t.Fatalf("a patch that is not there: %+v, %v", got, err)
	}
	got, err = w.p.Prove(t.Context(), []patch.ID{"sdp:maker:aa:amd64"}, "ada", nil)
	if err != nil || got[0].OK || !got[0].Untried || !strings.Contains(got[0].Reason, "could not be fetched") {
		t.Errorf("%+v, %v", got, err)
	}
	w.cfg.Microsoft.Catalog = ""
	w.p.Close()
	w.open()
	w.once()
	got, err = w.p.Prove(t.Context(), []patch.ID{"windows-server-2019:amd64:KB" + catalogKB}, "ada", nil)
	if err != nil || got[0].OK || !got[0].Untried || !strings.Contains(got[0].Reason, "no configured source knows a payload of it") {
		t.Errorf("%s: %+v, %v", old, got, err)
	}
	if all, err := publisher.Requests(w.cfg); err != nil || len(all) != 1 || all[0].Patch != "sdp:maker:aa:amd64" {
		t.Errorf("%+v, %v", all, err)
	}
}

// installerOf is the address in a package of the hardware maker.
func (w *world) installerOf(name string) string {
	w.t.Helper()
	_, rest, _ := strings.Cut(string(read(w.t, filepath.Join(w.cfg.SDP[0].Location, name))), `OriginUri="`)
	address, _, _ := strings.Cut(rest, `"`)
	return address
}

// TestTrustRow2WindowsUpdate: with the configuration's word and Microsoft's
// signature on the offline scan file, an update that was not fetched is left to
// the Windows Update Agent, by its very revision, and its evidence says that
// nothing was looked at here. One that is proven is installed from its file.
func TestTrustRow2WindowsUpdate(t *testing.T) {
	w, v := askedWorld(t)
	const id, platform = "wsus:" + wordUpdate, "windows-apps-amd64"
	w.once()
	if p := w.patch(platform, id); !p.Bulletin() {
		t.Fatalf("it is not opt-in: %+v", p)
	}
	w.p.Close()
	w.cfg.Wsusscn2.WindowsUpdate = true
	if _, err := publisher.New(t.Context(), w.cfg, w.opt); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "wsusscn2.signer") {
		t.Errorf("without a signer: %v", err)
	}
	w.cfg.Wsusscn2.Signer = "Microsoft Corporation"
	v.Sign(t, w.cfg.Wsusscn2.Location, "Microsoft Corporation")
	w.open()
	if r := w.once(); !r.Changed || len(r.Notes) > 0 {
		t.Fatalf("%+v", r)
	}
	p := w.patch(platform, id)
	checks := strings.Join(p.Evidence.Checks, "\n")
	if p.Evidence.Verdict != patch.Delegated || p.Bulletin() || p.Install.Kind != "wua" || !slices.Equal(p.Install.Argv, []string{wordUpdate, "201"}) || len(p.Items) != 0 {
		t.Errorf("%+v", p)
	}
	for _, words := range []string{"signed by Microsoft Corporation, issued by Test Root", "nothing was fetched or looked at here", "its own WSUS server", "asks the Windows Update Agent for update " + wordUpdate + ", revision 201"} {
		if !strings.Contains(checks, words) {
			t.Errorf("the evidence does not say %q:\n%s", words, checks)
		}
	}
	if a, i := p.Rules(); a.Always != nil && !*a.Always || i.FileVersion == nil {
		t.Errorf("its rules are lost: %+v %+v", a, i)
	}

	got, err := w.p.Prove(t.Context(), []patch.ID{id}, "ada", nil)
	if err != nil || !got[0].OK {
		t.Errorf("%+v, %v", got, err)
	}
	w.once()
	if p := w.patch(platform, id); p.Evidence.Verdict != patch.Proven || p.Install.Kind != "cab" || len(p.Items) != 1 {
		t.Errorf("%+v", p)
	}
	if err := publisher.Forget(w.cfg, []patch.ID{id}); err != nil {
		t.Fatal(err)
	}

	v.Sign(t, w.cfg.Wsusscn2.Location, "Taker Inc") // of another signer: the file before stays
	touch(t, w.cfg.Wsusscn2.Location)
	r := w.once()
	if h := r.Sources[1]; h.Source != "wsusscn2" || !strings.Contains(h.LastError, "the catalog's own signature") {
		t.Errorf("%+v", h)
	}
}

// TestProveNothingForNothing: what could not be installed anyway is not fetched,
// whether the configuration names it or a person asks, and is not remembered.
func TestProveNothingForNothing(t *testing.T) {
	w, _ := askedWorld(t)
	file := filepath.Join(w.cfg.SDP[0].Location, "aa.sdp")
	text := strings.Replace(string(read(t, file)), "REBOOT=ReallySuppress", "TRANSFORMS=a.mst", 1)
	put(t, file, []byte(text))
	w.once()
	const id = "sdp:maker:aa:amd64"
	got, err := w.p.Prove(t.Context(), []patch.ID{id}, "ada", nil)
	if err != nil || got[0].OK || !strings.Contains(got[0].Reason, "nothing is installed from it: its manifest sets Windows Installer's own property TRANSFORMS") {
		t.Errorf("%+v, %v", got, err)
	}
	if all, err := publisher.Requests(w.cfg); err != nil || len(all) > 0 {
		t.Errorf("%+v, %v", all, err)
	}
	w.p.Close()
	w.cfg.SDP[0].Prove = []string{"sp1"}
	w.open()
	w.once()
	if p := w.patch("windows-apps-amd64", id); !p.Bulletin() || !strings.Contains(p.Evidence.Checks[0], "TRANSFORMS") {
		t.Errorf("%+v", p.Evidence)
	}
	for _, path := range w.blobs() {
		if strings.HasPrefix(string(read(t, path)), "\xd0\xcf\x11\xe0") {
			t.Errorf("%s was fetched", path)
		}
	}
}
