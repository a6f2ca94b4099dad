package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/buildinfo"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
	"github.com/fettlehq/fettle/internal/wire"
)

// Config is everything that an agent is told at its start.
type Config struct {
	State      Dir
	PolicyFile string
	// Root is the root folder of the machine; "/" is this very machine, on
	// Windows too.
	Root string
	// Installers by manifest kind.
	Installers map[string]Installer
	// Child is the argv of a process that runs Step with this Config.
	Child []string
	// Reboot is the argv that restarts the machine.
	Reboot []string
	Log    *slog.Logger
}

// DefaultConfig is the configuration of an agent on its own machine; Child is
// still to be set.
func DefaultConfig(state Dir) Config {
	return Config{
		State: state, PolicyFile: DefaultPolicyFile(), Root: "/",
		Installers: installers(run.OS{}),
		Reboot:     rebootCommand(),
		Log:        slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
}

// gateway is what the agent needs of the server.
type gateway interface {
	CheckIn(context.Context, wire.CheckIn) (wire.CheckInReply, error)
	PostEvents(context.Context, []wire.Event) (int64, error)
	Wake(context.Context, func(wire.Wake)) error
}

var _ gateway = (*link.Client)(nil)

// Agent is the process that stays on a machine.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	journal *journal.Journal
	steps   stepper
	runner  run.Runner
	bootID  string
	unlock  func()

	// hurry asks for a check-in now, work for a look at the journal, post
	// for events to be sent. Each holds one token.
	hurry, work, post chan struct{}

	// turn is held while the state of a task is looked at and changed: the
	// contact takes orders while the worker works on them.
	turn sync.Mutex

	mu       sync.Mutex
	gate     gateway
	renewal  func(ctx context.Context, now time.Time) error // renews the certificate when due
	summary  summary
	accepted string // root that the server has taken
	catalog  int64
	followed time.Time // when the repository was looked at last
	offered  int64     // what the server said to have then
	rescan   bool
	// What the server is told to be wrong.
	journalProblem, catalogProblem, scanProblem string
	status                                      Status
	// cancel stops the step that runs for a task, while it may be stopped.
	running deploy.TaskID
	cancel  context.CancelFunc
}

// New returns an agent that has taken up its journal. It holds the lock on its
// state folder until Close: a second one gets fault.Conflict.
func New(ctx context.Context, cfg Config) (*Agent, error) {
	if err := cfg.State.make(); err != nil {
		return nil, err
	}
	brief, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	unlock, err := lock(brief, cfg.State.runLock())
	if err != nil {
		if fault.Is(err, fault.Cancelled) {
			err = fault.Wrap(err, fault.Conflict, "agent: another agent works with %s", string(cfg.State)).
				WithHint("ask it with: fettle-agent status")
		}
		return nil, err
	}
	j, damaged, err := journal.Open(cfg.State.journal())
	if err != nil {
		unlock()
		return nil, err
	}
	a := &Agent{
		cfg: cfg, log: cfg.Log, journal: j, unlock: unlock, runner: run.OS{},
		steps: children{runner: run.OS{}, argv: cfg.Child},
		hurry: make(chan struct{}, 1), work: make(chan struct{}, 1), post: make(chan struct{}, 1),
		bootID: bootID(ctx, cfg.Root),
	}
	if damaged {
		a.journalProblem = "the agent's journal was damaged; what stood before the damage counts, the old file is " + cfg.State.journal() + ".damaged"
		a.log.Error("journal damaged", "kept", cfg.State.journal()+".damaged")
	}
	return a, nil
}

// Work runs an agent until ctx ends; started, which may be nil, gets it.
func Work(ctx context.Context, cfg Config, started func(*Agent)) error {
	a, err := New(ctx, cfg)
	if err != nil {
		return err
	}
	if started != nil {
		started(a)
	}
	err = a.Run(ctx)
	if closing := a.Close(); err == nil {
		err = closing
	}
	return err
}

// Close lets go of the journal and the state folder.
func (a *Agent) Close() error {
	err := a.journal.Close()
	a.unlock()
	return err
}

// Run works until ctx ends. It returns an error only when it can't work at
// all: fault.NotFound before enrolment, a journal that can't be written.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.connect(); err != nil {
		return err
	}
	if s, err := a.cfg.State.readSummary(); err == nil {
		a.summary, a.catalog = s, keptVersion(a.cfg.State, s.Platforms)
	}
	if err := a.resume(time.Now()); err != nil {
		return err
	}
	a.log.Info("the agent works", EventKey, EventStarted, "version", buildinfo.Read().Version, "server", a.status.Server, "endpoint", a.status.Endpoint)
	defer a.log.Info("the agent stops", EventKey, EventStopped)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, part := range []func(context.Context) error{a.contact, a.listen, a.send, a.workLoop} {
		wg.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// Installing reports that this machine is being changed: its shutdown should
// wait.
func (a *Agent) Installing() bool {
	return slices.ContainsFunc(a.journal.Entries(), func(e journal.Entry) bool { return e.Step == journal.Installing })
}

// connect loads the identity and makes a client with it.
func (a *Agent) connect() error {
	id, err := a.cfg.State.identity()
	if err != nil {
		return err
	}
	c, err := id.connect()
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gate = c
	a.status.Endpoint, a.status.Server = id.settings.Endpoint, id.settings.Server
	a.renewal = func(ctx context.Context, now time.Time) error {
		if !id.renewalDue(now) {
			return nil
		}
		a.log.Info("renewing the certificate", "until", id.pair.Leaf.NotAfter)
		if err := a.cfg.State.renew(ctx, c); err != nil {
			return err
		}
		return a.connect() // old connections end by themselves
	}
	return nil
}

func (a *Agent) server() gateway {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gate
}

// poke puts a token into a channel that holds one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits; it reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// progressPause stands between two events that tell the progress of a step.
const progressPause = 5 * time.Second

// progress returns a function that reports a step's progress without flooding
// the journal.
func (a *Agent) progress(e journal.Entry, state deploy.State) func(install.Progress) {
	var last time.Time
	percent := -1
	return func(p install.Progress) {
		now := time.Now()
		if p.Percent == percent || now.Sub(last) < progressPause {
			return
		}
		last, percent = now, p.Percent
		ev := event(e, state, p.Line, now)
		ev.Progress = p.Percent
		if err := a.journal.Apply(journal.Change{Emit: []wire.Event{ev}}, now); err != nil {
			a.log.Warn("progress not recorded", "error", err)
			return
		}
		poke(a.post)
	}
}
