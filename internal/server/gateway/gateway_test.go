package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

func payloadOf(content string) patch.Payload {
	return patch.Payload{SHA256: sum(content), Size: int64(len(content)), Name: "p"}
}

// One machine's way from the first contact to the unchanged one.
func TestInventoryTravelsOnce(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	first := a.checkIn(wire.CheckIn{})
	if !first.Scan || first.Catalog != 42 || first.Next <= 0 {
		t.Fatalf("first reply %+v", first)
	}
	all, bare := split(t, snapshot(900, "old"))
	root := inventory.Root(all)
	if r := a.checkIn(wire.CheckIn{Root: root}); !r.WantHashes || r.Scan {
		t.Fatalf("reply to a new root %+v", r)
	}
	want := a.checkIn(wire.CheckIn{Root: root, Sections: bare}).Want
	if !slices.Equal(want, inventory.Sections()[:len(bare)]) { // all but the answers, which this machine gave none of
		t.Fatalf("wanted %v", want)
	}
	a.mustSend("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: root, Sections: all})), nil)
	if r := a.checkIn(wire.CheckIn{Root: root}); r.WantHashes || len(r.Want) > 0 || r.Scan {
		t.Fatalf("reply to the unchanged machine %+v", r)
	}
	// A new state alone travels alone; the others stay.
	next, nextBare := split(t, snapshot(900, "new"))
	nextRoot := inventory.Root(next)
	if want := a.checkIn(wire.CheckIn{Root: nextRoot, Sections: nextBare}).Want; !slices.Equal(want, []inventory.SectionName{inventory.SectionState}) {
		t.Fatalf("wanted %v", want)
	}
	only := []inventory.Section{next[len(next)-1]}
	a.mustSend("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: nextRoot, Sections: only})), nil)
	e, err := w.db.In(estate.InTenant("acme")).Endpoint(t.Context(), a.id)
	if err != nil {
		t.Fatal(err)
	}
	if e.Hostname != "web-1" || e.RebootDue || !slices.Equal(e.Addresses, []string{"10.0.0.7/24"}) || e.LastSeen.IsZero() {
		t.Errorf("endpoint %+v", e)
	}
	got, _, err := w.db.In(estate.InTenant("acme")).Inventory(t.Context(), a.id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(next, got); diff != "" {
		t.Error(diff)
	}
	// A second, equal machine sends no body at all.
	b := w.enrol("acme")
	if r := b.checkIn(wire.CheckIn{Root: nextRoot, Sections: nextBare}); r.WantHashes || len(r.Want) > 0 {
		t.Errorf("the second machine is asked for %+v", r)
	}
	if r := b.checkIn(wire.CheckIn{Root: nextRoot}); r.WantHashes {
		t.Errorf("the second machine's inventory was not kept: %+v", r)
	}
	if !slices.Equal(w.changed, []estate.EndpointID{a.id, a.id, b.id}) {
		t.Errorf("changes told: %v", w.changed)
	}
}

// The server restarts between the check-in and the bodies: the agent is told
// to begin again, nothing is mixed up.
func TestBodiesAfterRestart(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	all, _ := split(t, snapshot(3, "new"))
	body := pack(t, encode(t, wire.Sections{Root: inventory.Root(all), Sections: all[:2]}))
	if code, no := a.send("PUT", wire.PathSection, body, nil); code != http.StatusConflict {
		t.Fatalf("%d %+v", code, no)
	}
	a.mustSend("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: inventory.Root(all), Sections: all})), nil)
}

func TestEventsAreTakenOnce(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	w.task(a, "task-1", "")
	event := func(seq int64) wire.Event {
		return wire.Event{Seq: seq, Task: "task-1", Attempt: 1, State: deploy.Installing, At: time.Now()}
	}
	var r wire.EventsReply
	for _, batch := range [][]int64{{1, 2}, {1, 2}, {2, 3}} {
		var m wire.Events
		for _, seq := range batch {
			m.Events = append(m.Events, event(seq))
		}
		a.mustSend("POST", wire.PathEvents, m, &r)
	}
	var seqs []int64
	for _, e := range w.heard {
		seqs = append(seqs, e.Seq)
	}
	if !slices.Equal(seqs, []int64{1, 2, 3}) || r.Seq != 3 {
		t.Errorf("heard %v, acknowledged %d", seqs, r.Seq)
	}
	if code, _ := a.send("POST", wire.PathEvents, wire.Events{Events: []wire.Event{event(5), event(4)}}, nil); code != 400 {
		t.Errorf("falling numbers: %d", code)
	}
}

func TestOrdersAndRenewal(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	w.mu.Lock()
	w.orders[a.id] = []wire.Order{{Task: "t", Attempt: 1, Action: wire.ActPlan}}
	w.mu.Unlock()
	if got := a.checkIn(wire.CheckIn{}).Orders; len(got) != 1 || got[0].Task != "t" {
		t.Errorf("orders %+v", got)
	}
	key, err := pki.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	var r wire.RenewReply
	a.mustSend("POST", wire.PathRenew, wire.RenewRequest{CSR: key.CSR}, &r)
	if len(r.Certificate) == 0 || bytes.Equal(r.Certificate, a.cert.Certificate[0]) {
		t.Error("no new certificate")
	}
}

func TestClockSkewIsReported(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	a.checkIn(wire.CheckIn{Now: time.Now().Add(-3 * time.Hour)})
	c, err := w.db.In(estate.InTenant("acme")).Contact(t.Context(), a.id)
	if err != nil {
		t.Fatal(err)
	}
	if c.Problem == "" || c.Skew > -2*time.Hour {
		t.Errorf("contact %+v", c)
	}
	a.checkIn(wire.CheckIn{Problem: strings.Repeat("x", 2048)}) // what an agent's text is cut at
	a.checkIn(wire.CheckIn{})
	if c, err = w.db.In(estate.InTenant("acme")).Contact(t.Context(), a.id); err != nil || c.Problem != "" {
		t.Errorf("contact %+v, %v", c, err)
	}
}

func TestRepositoryAndBlobs(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	if err := os.WriteFile(filepath.Join(w.repo, "metadata", "timestamp.json"), []byte("signed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.repo, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []byte
	a.mustSend("GET", wire.PathRepo+"metadata/timestamp.json", nil, &got)
	if string(got) != "signed" {
		t.Errorf("got %q", got)
	}
	for _, path := range []string{"secret", "metadata", "metadata/", "metadata/none", "metadata/%2e%2e/secret", "metadata%2f..%2fsecret", "%2fetc/passwd", "metadata/..%5csecret", "targets/../../secret"} {
		if code, _ := a.send("GET", wire.PathRepo+path, nil, nil); code < 300 {
			t.Errorf("%s: %d", path, code)
		}
	}
	index, mine, other := w.putBlob("index bytes"), w.putBlob("my payload"), w.putBlob("another's")
	w.mu.Lock()
	w.serves[index] = true
	w.mu.Unlock()
	w.task(a, "task-b", "my payload")
	for hash, want := range map[string]int{index: 200, mine: 200, other: 404, sum("absent"): 404, "zz": 400} {
		if code, no := a.send("GET", wire.PathBlob+hash, nil, nil); code != want {
			t.Errorf("blob %s: %d %+v, want %d", hash, code, no, want)
		}
	}
	req, err := http.NewRequest("GET", "https://"+w.addr+wire.PathBlob+mine, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=3-")
	resp, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var rest bytes.Buffer
	if _, err := rest.ReadFrom(resp.Body); err != nil || resp.StatusCode != 206 || rest.String() != "payload" {
		t.Errorf("range: %d %q %v", resp.StatusCode, rest.String(), err)
	}
}

// listen opens the wake channel and returns its lines.
func (a *agent) listen(ctx context.Context) <-chan wire.Wake {
	a.w.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", "https://"+a.w.addr+wire.PathWake, nil)
	if err != nil {
		a.w.t.Fatal(err)
	}
	c := *a.http
	c.Timeout = 0
	resp, err := c.Do(req)
	if err != nil {
		a.w.t.Fatal(err)
	}
	lines := make(chan wire.Wake, 10)
	go func() {
		defer close(lines)
		defer resp.Body.Close()
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			var m wire.Wake
			if json.Unmarshal(s.Bytes(), &m) == nil {
				lines <- m
			}
		}
	}()
	return lines
}

func TestWake(t *testing.T) {
	w := newWorld(t)
	a, b := w.enrol("acme"), w.enrol("rival")
	before := a.checkIn(wire.CheckIn{}).Next
	la, lb := a.listen(t.Context()), b.listen(t.Context())
	if (<-la).Kind != "hello" || (<-lb).Kind != "hello" {
		t.Fatal("no hello")
	}
	if w.gw.Connected() != 2 {
		t.Errorf("%d connected", w.gw.Connected())
	}
	if after := a.checkIn(wire.CheckIn{}).Next; after < 10*before {
		t.Errorf("interval %d s with a wake channel, %d s without", after, before)
	}
	w.gw.Wake("rival", a.id) // another tenant's word wakes nobody
	w.gw.Wake("acme", a.id)
	if m := <-la; m.Kind != "check" || m.After != 0 {
		t.Errorf("woken by %+v", m)
	}
	w.gw.WakeAll("", time.Hour)
	ma, mb := <-la, <-lb
	if ma.Kind != "check" || mb.Kind != "check" || ma.After == mb.After || ma.After > 3600 || mb.After > 3600 {
		t.Errorf("woken by %+v and %+v", ma, mb)
	}
	// A new channel replaces the old.
	again := a.listen(t.Context())
	if (<-again).Kind != "hello" {
		t.Fatal("no hello")
	}
	if _, open := <-la; open {
		t.Error("the old channel stays open")
	}
	// Revoking closes it.
	if err := w.gw.Revoke(t.Context(), "acme", a.id); err != nil {
		t.Fatal(err)
	}
	if _, open := <-again; open {
		t.Error("a revoked endpoint keeps its channel")
	}
}
