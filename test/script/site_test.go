package script

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/publish"
	"github.com/fettlehq/fettle/internal/server"
	"github.com/fettlehq/fettle/test/lab"
)

// site is what stands behind one session: a publisher's repository, a server
// in this process and made-up machines.
type site struct {
	env      *testscript.Env
	dir      string
	database string // DSN, "" for a file
	repo     *publish.Repository
	admin    string
	agents   string
	stop     func() error
	machines map[string]*machine
}

func (s *site) repository() string { return filepath.Join(s.dir, "repository") }
func (s *site) data() string       { return filepath.Join(s.dir, "data") }

// leave ends everything at the end of a session.
func (s *site) leave() {
	for _, m := range s.machines {
		m.leave()
	}
	if s.stop != nil {
		_ = s.stop() // the session has told what went wrong
	}
}

// publishCmd publishes a version of the made-up catalog: see madeUp.
func publishCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: publish VERSION")
	}
	s := siteOf(ts)
	var version int64
	_, err := fmt.Sscan(args[0], &version)
	ts.Check(err)
	ts.Check(s.publish(version))
}

func (s *site) publish(version int64) error {
	now := time.Now()
	if s.repo == nil {
		r, err := publish.Init(context.Background(), s.repository(), filepath.Join(s.dir, "keys"), now, publish.Setup{})
		if err != nil {
			return err
		}
		s.repo = r
	}
	return fill(s.repo, madeUp(version, now), now)
}

// serverCmd starts the server, on the same data after "server stop", and puts
// its addresses and fingerprints into the environment.
func serverCmd(ts *testscript.TestScript, neg bool, args []string) {
	s := siteOf(ts)
	if len(args) == 1 && args[0] == "stop" && s.stop != nil {
		ts.Check(s.stop())
		s.stop = nil
		return
	}
	if neg || len(args) != 0 || s.stop != nil {
		ts.Fatalf("usage: server [stop]")
	}
	if s.repo == nil {
		ts.Check(s.publish(1))
	}
	ts.Check(s.serve())
	ts.Setenv("ADMIN", "http://"+s.admin)
	ts.Setenv("AGENTS", "https://"+s.agents)
}

func (s *site) serve() error {
	if s.admin == "" {
		s.admin, s.agents = freeAddress(), freeAddress()
	}
	srv, err := server.New(context.Background(), server.Config{
		Data: s.data(), Database: s.database, Admin: s.admin, Agents: s.agents, Names: []string{"127.0.0.1"},
		Repository: s.repository(), RootFile: filepath.Join(s.repository(), repo.MetadataPath(repo.Root, 1)),
	})
	if err != nil {
		return err
	}
	if err := srv.Sync(context.Background()); err != nil {
		srv.Close()
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	s.stop = func() error {
		cancel()
		err := <-done
		srv.Close()
		return err
	}
	return s.answers(done)
}

// answers waits until the API does.
func (s *site) answers(done chan error) error {
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
		resp, err := http.Get("http://" + s.admin + "/readyz")
		if err == nil {
			resp.Body.Close()
			return nil
		}
		select {
		case err := <-done:
			done <- err
			return fmt.Errorf("the server ended: %w", err)
		case <-time.After(25 * time.Millisecond):
		}
	}
	return fmt.Errorf("the server at %s does not answer", s.admin)
}

func freeAddress() string {
	addr, err := lab.FreeAddr(context.Background())
	if err != nil {
		panic(err)
	}
	return addr
}

// keyCmd makes an API key with a role in a scope and puts it into the
// environment, where fettle looks for it:
//
//	key viewer main
func keyCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: key ROLE SCOPE")
	}
	s := siteOf(ts)
	scope := map[string]string{}
	if args[1] != "*" {
		scope["tenant"] = args[1]
	}
	var made struct{ Secret string }
	ts.Check(s.post("/api/v1/keys", map[string]any{"name": args[0], "grants": []any{map[string]any{"role": args[0], "scope": scope}}}, &made))
	ts.Setenv("FETTLE_API_KEY", made.Secret)
	ts.Setenv("FETTLE_SERVER", "http://"+s.admin)
}

// post asks the API as the local operator.
func (s *site) post(path string, in, out any) error {
	text, err := os.ReadFile(filepath.Join(s.data(), "operator.json"))
	if err != nil {
		return err
	}
	var operator struct{ Server, Key string }
	if err := json.Unmarshal(text, &operator); err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, operator.Server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+operator.Key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return json.Unmarshal(answer, out)
}
