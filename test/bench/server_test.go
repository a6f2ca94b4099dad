package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/server"
)

// world is a server with this machine's agent, as processes of their own.
type world struct {
	launch        string
	data          string
	admin, agents string // addresses
	state         string // the agent's folder
}

// newWorld makes the server's data and enrols this machine's agent.
func newWorld(t *testing.T, p publication) *world {
	t.Helper()
	w := &world{launch: launcher(t), data: p.data, admin: freeAddr(t), agents: freeAddr(t), state: filepath.Join(t.TempDir(), "agent")}
	s, err := server.New(t.Context(), server.Config{
		Data: w.data, Admin: w.admin, Agents: w.agents,
		Repository: filepath.Join(w.data, "repository"), RootFile: filepath.Join(w.data, "repository/metadata/1.root.json"),
	})
	if err != nil {
		t.Fatal(err)
	}
	args, token, err := s.OwnEnrolment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	stop := w.serve(t, "8h", nil)
	defer stop()
	if out, err := exec.Command(program(t, "fettle-agent"), append(args, "--token", token, "--state", w.state)...).CombinedOutput(); err != nil {
		t.Fatalf("enrol: %v\n%s", err, out)
	}
	return w
}

// serve starts the server and returns when agents can reach it; stop ends it.
func (w *world) serve(t *testing.T, checkIn string, log *lines, env ...string) (stop func() used) {
	t.Helper()
	p := w.start(t, checkIn, log, env...)
	w.await(t, w.agents)
	return func() used { return p.stop(t) }
}

func (w *world) start(t *testing.T, checkIn string, log *lines, env ...string) *process {
	t.Helper()
	config := filepath.Join(t.TempDir(), "server.yml")
	text := fmt.Sprintf("data: %[1]s\nadmin: %[2]s\nagents: %[3]s\nrepository: %[1]s/repository\nroot_file: %[1]s/repository/metadata/1.root.json\ncheck_in: %[4]s\n",
		w.data, w.admin, w.agents, checkIn)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if log == nil {
		log = &lines{}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("server's log:\n%s", log.String())
		}
	})
	return start(t, w.launch, contender{argv: []string{program(t, "fettle"), "server", "--config", config, "--data", w.data}, env: env}, log)
}

// stop asks the program to end and waits for it.
func (p *process) stop(t *testing.T) used {
	t.Helper()
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	return p.wait(t)
}

func (w *world) await(t *testing.T, addr string) {
	t.Helper()
	eventually(t, "a listener on "+addr, time.Minute, func() bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// eventually polls until it holds; the wait is not what is measured.
func eventually(t *testing.T, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s for %s", limit, what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// freeAddr is a loopback address that nobody listens on at this moment.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// runAgent starts the agent and returns when it has scanned and reported.
func (w *world) runAgent(t *testing.T) *process {
	t.Helper()
	log := &lines{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("agent's log:\n%s", log.String())
		}
	})
	begin := time.Now()
	p := start(t, w.launch, contender{argv: []string{program(t, "fettle-agent"), "run", "--state", w.state}}, log)
	eventually(t, "the agent's first report", time.Minute, func() bool {
		s, err := agent.ReadStatus(agent.Dir(w.state))
		return err == nil && s.Contact.After(begin) && !s.Scanned.IsZero() && s.Catalog > 0
	})
	return p
}

// vitals are what the kernel knows of a process.
type vitals struct {
	rss, private int64 // bytes
	cpu          time.Duration
	switches     int64
}

func look(t *testing.T, pid int) vitals {
	t.Helper()
	var v vitals
	memory := fields(t, fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	v.rss, v.private = memory["Rss"]*1024, (memory["Private_Clean"]+memory["Private_Dirty"])*1024
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks { // nanoseconds on a CPU, waiting for one, number of turns
		data, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		n, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		v.cpu += time.Duration(n)
	}
	status, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range status {
		s := fields(t, f)
		v.switches += s["voluntary_ctxt_switches"] + s["nonvoluntary_ctxt_switches"]
	}
	return v
}

// fields reads the numbers of a file of "Name: value unit" lines; none when
// the file is gone.
func fields(t *testing.T, path string) map[string]int64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	out := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			out[strings.TrimSuffix(f[0], ":")] = n
		}
	}
	return out
}

// redirect changes where the agent finds its server.
func (w *world) redirect(t *testing.T, addr string) {
	t.Helper()
	path := filepath.Join(w.state, "agent.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	s["server"] = "https://" + addr
	if data, err = json.Marshal(s); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
