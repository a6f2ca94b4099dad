package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
	"github.com/fettlehq/fettle/internal/server"
)

// ownAgent is this machine's agent: the same program that other machines run,
// as a process of its own.
type ownAgent struct {
	program  string
	state    string
	endpoint estate.EndpointID
	server   string // the address that it dials
	// elsewhere: that is not where this server listens.
	elsewhere bool
	done      chan struct{}
}

// enrol enrols this machine, once: later runs find the identity.
func (u *up) enrol(ctx context.Context, s *server.Server) (*ownAgent, error) {
	program, err := agentProgram()
	if err != nil {
		return nil, err
	}
	a := &ownAgent{program: program, state: filepath.Join(u.data, "agent"), done: make(chan struct{})}
	if a.identify(ctx) && s.Knows(ctx, a.endpoint) {
		u.warnElsewhere(a)
		return a, nil
	}
	if err := os.RemoveAll(a.state); err != nil { // an identity that this server does not know is of no use here
		return nil, fault.Wrap(err, fault.Unavailable, "the agent's folder %s can't be emptied", a.state)
	}
	args, token, err := s.OwnEnrolment(ctx)
	if err != nil {
		return nil, err
	}
	res, err := run.OS{}.Run(ctx, run.Cmd{
		Argv: append(append([]string{program}, args...), "--state", a.state), Timeout: time.Minute,
		Env: []string{"FETTLE_TOKEN=" + token}, // where neither process lists nor error messages show it
	})
	if err == nil {
		err = res.Err()
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "this machine's agent can't be enrolled")
	}
	if !a.identify(ctx) {
		return nil, fault.New(fault.Internal, "this machine's agent was enrolled and does not know its id")
	}
	return a, nil
}

// warnElsewhere says so when the agent was enrolled while agents were expected
// on another port: it goes on to dial that one.
func (u *up) warnElsewhere(a *ownAgent) {
	_, port, err := net.SplitHostPort(u.cfg.Agents)
	if at, parseErr := url.Parse(a.server); err != nil || parseErr != nil || at.Port() == port {
		return
	}
	a.elsewhere = true
	u.say("this machine's agent was enrolled at %s and can't reach --agents %s: what follows is from its last scan", a.server, u.cfg.Agents)
	u.say("  hint: start with the address of before, or stop, remove %s, and this machine enrols anew", a.state)
}

// identify asks the agent who it is; false when it is not enrolled.
func (a *ownAgent) identify(ctx context.Context) bool {
	res, err := run.OS{}.Run(ctx, run.Cmd{Argv: []string{a.program, "status", "--json", "--state", a.state}, Timeout: time.Minute})
	if err != nil || res.ExitCode != 0 {
		return false
	}
	var st struct {
		Endpoint estate.EndpointID `json:"endpoint"`
		Server   string            `json:"server"`
	}
	if err := json.Unmarshal(res.Stdout, &st); err != nil {
		return false
	}
	a.endpoint, a.server = st.Endpoint, st.Server
	return a.endpoint != ""
}

// agentProgram finds fettle-agent beside this program or in PATH.
func agentProgram() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "fettle-agent")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath("fettle-agent")
	if err != nil {
		return "", fault.Wrap(err, fault.NotFound, "fettle-agent is neither beside this program nor in PATH").
			WithHint("'make build' makes both in bin/; --no-agent goes without")
	}
	return path, nil
}

// run keeps the agent running until the context ends.
func (a *ownAgent) run(ctx context.Context) error {
	defer close(a.done)
	log, err := os.OpenFile(filepath.Join(a.state, "agent.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "the agent's log can't be opened")
	}
	defer log.Close()
	line := func(_ run.Stream, text string) { fmt.Fprintln(log, text) }
	for {
		res, err := run.OS{}.Run(ctx, run.Cmd{
			Argv: []string{a.program, "run", "--state", a.state}, OnLine: line, Grace: 20 * time.Second, MaxOutput: 4 << 10,
		})
		if ctx.Err() != nil {
			return nil
		}
		if fault.Is(err, fault.NotFound) {
			return err
		}
		fmt.Fprintf(log, "fettle up: the agent ended with code %d; starting it again\n", res.ExitCode)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(3 * time.Second):
		}
	}
}

// wait returns when the agent's process has ended.
func (a *ownAgent) wait() {
	if a != nil {
		<-a.done
	}
}
