package bench

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
	"github.com/fettlehq/fettle/internal/wire"
)

// The simulated fleet: machines like this one, in some patch levels, each with
// a name and addresses of its own.
const (
	fleetSize   = 5000
	fleetLevels = 50
	fleetActive = 64     // that check in
	fleetLoad   = 20_000 // check-ins in one measurement
)

// fleet is what the store holds besides this machine.
type fleet struct {
	active []member
	took   time.Duration
}

// member is a simulated agent with a connection.
type member struct {
	client *http.Client
	url    string
	body   []byte
}

// seed writes the fleet through the store; the server must not run.
func seed(t *testing.T, w *world) *fleet {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(w.data, "server/fettle.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ca, err := pki.LoadCA(filepath.Join(w.data, "server/ca"))
	if err != nil {
		t.Fatal(err)
	}
	snap, _, err := agent.Inventory(t.Context(), "/", false)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	_, token, err := db.In(estate.InTenant(estate.DefaultTenant)).CreateToken(t.Context(), estate.Token{
		Tenant: estate.DefaultTenant, Site: estate.DefaultSite, Uses: fleetSize, Note: "bench", By: "bench", Created: now, Expires: now.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{active: make([]member, fleetActive)}
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(16)
	for i := range fleetSize {
		g.Go(func() error {
			s := simulated(snap, i)
			id := estate.EndpointID(fmt.Sprintf("e%032x", i))
			sections, err := inventory.Split(s)
			if err != nil {
				return err
			}
			if _, err := db.Agents().Enrol(ctx, token, estate.Endpoint{
				ID: id, Hostname: s.OS.Hostname, Platform: s.OS.Platform(), OS: s.OS.Name, AgentVersion: "1.0.0", Enrolled: now,
			}, now); err != nil {
				return err
			}
			if err := db.Agents().PutInventory(ctx, estate.DefaultTenant, id, sections, now, now, nil); err != nil {
				return err
			}
			if i < fleetActive {
				f.active[i], err = newMember(ca, w.agents, id, inventory.Root(sections))
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	f.took = time.Since(now)
	return f
}

// simulated is this machine under another name, with some older packages.
func simulated(s inventory.Snapshot, i int) inventory.Snapshot {
	s.OS.Hostname = fmt.Sprintf("machine-%05d", i)
	s.Network = inventory.Network{Interfaces: []inventory.Interface{{Name: "eth0", Addresses: []string{fmt.Sprintf("10.%d.%d.1/16", i>>8, i&255)}}}}
	packages := make([]inventory.Package, len(s.Packages))
	copy(packages, s.Packages)
	for k := range packages {
		if k%fleetLevels == i%fleetLevels {
			packages[k].Version = "0~" + packages[k].Version
		}
	}
	s.Packages = packages
	return s
}

func newMember(ca *pki.CA, addr string, id estate.EndpointID, root string) (member, error) {
	req, err := pki.NewIdentity()
	if err != nil {
		return member{}, err
	}
	cert, err := ca.IssueAgent(req.CSR, pki.Identity{Tenant: string(estate.DefaultTenant), Endpoint: string(id)}, time.Now())
	if err != nil {
		return member{}, err
	}
	pair, err := pki.Pair(cert, req.Key)
	if err != nil {
		return member{}, err
	}
	body, err := json.Marshal(wire.CheckIn{
		Protocol: wire.Protocol, Root: root, Scanned: time.Now(), Catalog: 1, AgentVersion: "1.0.0",
		BootID: "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", Now: time.Now(),
	})
	if err != nil {
		return member{}, err
	}
	cfg := pki.ClientConfig(pair, pki.NewTrust(ca.Certificate()))
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return member{
		client: &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: cfg}, Timeout: time.Minute},
		url:    "https://" + addr + wire.PathCheckIn, body: body,
	}, nil
}

// checkIn makes one check-in and returns the size of the answer.
func (m member) checkIn() (int, error) {
	resp, err := m.client.Post(m.url, "application/json", bytes.NewReader(m.body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", resp.StatusCode, body)
	}
	return len(body), err
}

// restart measures from the start of the process to the first check-in that is
// answered, and to the console's first page.
func restart(t *testing.T, b *table, w *world, f *fleet) {
	b.add(fmt.Sprintf("write %d machines through the store", fleetSize), f.took.Round(time.Millisecond).String(), "", "")
	var agents, people, filled []time.Duration
	var peaks []int64
	for range 7 {
		log := &lines{}
		begin := time.Now()
		p := w.start(t, "8h", log)
		eventually(t, "a check-in", time.Minute, func() bool { _, err := f.active[0].checkIn(); return err == nil })
		agents = append(agents, time.Since(begin))
		eventually(t, "the console", time.Minute, func() bool {
			resp, err := http.Get("http://" + w.admin + "/")
			if err != nil {
				return false
			}
			return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
		})
		people = append(people, time.Since(begin))
		eventually(t, "the index", time.Minute, func() bool { return strings.Contains(log.String(), "index filled") })
		filled = append(filled, time.Since(begin))
		f.active[0].client.CloseIdleConnections()
		peaks = append(peaks, p.stop(t).Peak)
	}
	a, c := median(agents), median(people)
	b.judge(fmt.Sprintf("server restart to serving, %d machines known", fleetSize+1), fmt.Sprintf("%s agents, %s people", ms(a), ms(c)), "", "",
		"< 1 s", max(a, c) < time.Second)
	b.add("server restart to a complete index of them", ms(median(filled)), "", "")
	b.add("server's peak memory in that", mib(median(peaks)), "", "")
}

// load makes unchanged check-ins of the active machines as fast as they go, on
// connections that stay, against a server that is held to one core as in
// the probe of the design.
func load(t *testing.T, b *table, w *world, f *fleet) {
	const probe = 5600.0 // check-ins/s on one core, with SQLite's group commit
	var rates, costs []float64
	answer := 0
	for range 3 {
		log := &lines{}
		p := w.start(t, "8h", log, "GOMAXPROCS=1")
		eventually(t, "the index", time.Minute, func() bool { return strings.Contains(log.String(), "index filled") })
		for _, m := range f.active { // connect
			n, err := m.checkIn()
			if err != nil {
				t.Fatal(err)
			}
			answer = n
		}
		before, begin := look(t, p.pid), time.Now()
		var left atomic.Int64
		left.Store(fleetLoad)
		var all sync.WaitGroup
		for _, m := range f.active {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					if _, err := m.checkIn(); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		took, after := time.Since(begin), look(t, p.pid)
		rates = append(rates, fleetLoad/took.Seconds())
		costs = append(costs, float64((after.cpu-before.cpu).Microseconds())/fleetLoad)
		for _, m := range f.active {
			m.client.CloseIdleConnections()
		}
		p.stop(t)
	}
	cost := median(costs)
	b.add("unchanged check-in, bodies alone", fmt.Sprintf("%d bytes up, %d down", len(f.active[0].body), answer), "", "")
	b.add(fmt.Sprintf("check-ins/s, server on one core, %d agents of one client process on the other", fleetActive), fmt.Sprintf("%.0f", median(rates)), "5600 (probe)", "")
	b.judge("server's CPU for one unchanged check-in", fmt.Sprintf("%.0f us (%.0f/s on one core)", cost, 1e6/cost), "179 us (probe)",
		fmt.Sprintf("%.2f", cost*probe/1e6), "within 3 times of the probe", cost*probe/1e6 <= 3)
}

// index runs the benchmark of assess, which loads 100,000 machines.
func index(t *testing.T, b *table, _ publication) {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "BenchmarkFleet", "-benchtime", "300ms", "./internal/server/assess")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := 0
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		name, rest, ok := strings.Cut(s.Text(), " ")
		if name, is := strings.CutPrefix(name, "BenchmarkFleet/"); ok && is {
			found++
			f := strings.Fields(rest)
			var seen []string
			for i := 1; i+1 < len(f); i += 2 {
				seen = append(seen, f[i]+" "+f[i+1])
			}
			b.add("index of 100,000 machines: "+name, strings.Join(seen, ", "), "", "")
		}
	}
	if found == 0 {
		t.Fatalf("no benchmark ran:\n%s", out)
	}
}
