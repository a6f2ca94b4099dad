package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/server"
	"github.com/fettlehq/fettle/web"
)

// up is the all-in-one program: a publisher of this machine's apt sources, a
// server and this machine's agent.
type up struct {
	once      bool
	asJSON    bool
	verbose   bool
	noAgent   bool
	config    string
	data      string
	cfg       server.Config
	interval  time.Duration // between two runs of the publisher
	out, note io.Writer
	log       *slog.Logger
}

func upCmd() *cobra.Command {
	u := &up{}
	f := &serverFlags{}
	cmd := &cobra.Command{
		Use: "up", Short: "Run everything on this machine: publisher, server and agent", Args: cobra.NoArgs,
		Long: `Crawls this machine's own apt sources, publishes and subscribes, enrols this
machine's agent, scans, and shows what this machine lacks. Then it stays up for
other machines. It installs nothing until someone approves and deploys.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u.out, u.note = cmd.OutOrStdout(), cmd.ErrOrStderr()
			u.asJSON = wantsJSON(cmd)
			if err := database(&f.cfg, cmd, ""); err != nil {
				return err
			}
			u.data, u.cfg = dataFlag(cmd), f.cfg
			u.log = logger(u.logFile(), u.verbose)
			return u.run(cmd.Context())
		},
	}
	f.addListeners(cmd)
	f.addDatabase(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&u.once, "once", false, "print what this machine lacks and exit")
	fl.BoolVar(&u.noAgent, "no-agent", false, "do not enrol this machine")
	fl.BoolVarP(&u.verbose, "verbose", "v", false, "log details")
	fl.StringVar(&u.config, "publisher-config", "", "the publisher's YAML file instead of this machine's apt sources")
	return cmd
}

// logFile is where up logs: a person's terminal shows what matters instead.
func (u *up) logFile() io.Writer {
	if u.verbose {
		return u.note
	}
	if err := os.MkdirAll(u.data, 0o755); err != nil {
		return u.note
	}
	f, err := os.OpenFile(filepath.Join(u.data, "fettle.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return u.note
	}
	return f
}

func (u *up) say(format string, args ...any) { fmt.Fprintf(u.note, format+"\n", args...) }

func (u *up) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := u.publish(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	s, err := u.serve(ctx, p)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Listen(ctx); err != nil {
		return err
	}
	failed := make(chan error, 3)
	go func() { failed <- s.Run(ctx) }()
	if err := s.Sync(ctx); err != nil {
		return err
	}
	var own *ownAgent
	if !u.noAgent {
		if own, err = u.enrol(ctx, s); err != nil {
			return err
		}
		since := u.since(s, own)
		go func() { failed <- own.run(ctx) }()
		if err := u.report(ctx, s, own, since, failed); err != nil {
			return err
		}
	}
	if u.once {
		cancel()
		own.wait()
		return nil
	}
	u.welcome(s)
	go func() { failed <- u.publishOn(ctx, p, s) }()
	err = <-failed
	told := ctx.Err() != nil
	cancel()
	own.wait()
	switch {
	case told && (err == nil || fault.Is(err, fault.Cancelled)):
		u.say("stopped")
		return nil
	case err == nil:
		return fault.New(fault.Internal, "fettle: a part of it has ended by itself").WithHint("%s tells more; start it again", filepath.Join(u.data, "fettle.log"))
	}
	return err
}

func (u *up) serve(ctx context.Context, p *publisher.Publisher) (*server.Server, error) {
	cfg := u.cfg
	cfg.Data, cfg.Log, cfg.Console = u.data, u.log, web.Handler()
	cfg.Bring = func(ctx context.Context, hashes []string) error { return p.Payloads(ctx, hashes, nil) }
	cfg.Publish = func(ctx context.Context) error {
		defer debug.FreeOSMemory()
		_, err := p.Once(ctx, nil)
		return err
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return server.New(ctx, cfg)
}

// since asks this machine for a fresh scan, and returns the moment from which
// one counts: any time if its agent can't be asked.
func (u *up) since(s *server.Server, own *ownAgent) time.Time {
	if own.elsewhere {
		return time.Time{}
	}
	s.Scan(own.endpoint)
	return time.Now().Truncate(time.Second) // as agents tell it
}

// report waits for a scan of this machine and prints what came of it.
func (u *up) report(ctx context.Context, s *server.Server, own *ownAgent, since time.Time, failed <-chan error) error {
	wait, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		found, scanned, err := s.Findings(ctx, own.endpoint, since)
		if err == nil {
			return u.print(s, found, scanned)
		}
		select {
		case err := <-failed:
			if err == nil {
				err = fault.New(fault.Unavailable, "a part of fettle ended before the first scan")
			}
			return err
		case <-wait.Done():
			return fault.Wrap(err, fault.Unavailable, "this machine's agent has not reported within two minutes").
				WithHint("see %s and %s", filepath.Join(u.data, "fettle.log"), filepath.Join(u.data, "agent", "agent.log"))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (u *up) print(s *server.Server, found []catalog.Finding, scanned time.Time) error {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	st := s.Status()
	r := upReport{Hostname: host, Scanned: scanned, Catalog: st.Version, Console: s.ConsoleURL(), Notes: st.Notes, Missing: []catalog.Finding{}}
	for _, f := range found {
		switch f.State {
		case catalog.Missing, catalog.Held:
			r.Missing = append(r.Missing, f)
		case catalog.Broken:
			r.Broken = append(r.Broken, f)
		default:
			r.KeptAway = append(r.KeptAway, f)
		}
	}
	if u.asJSON {
		enc := json.NewEncoder(u.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}
	r.show(u.out)
	return nil
}

func (u *up) welcome(s *server.Server) {
	fmt.Fprintf(u.out, "\nConsole:  %s\n", s.ConsoleURL())
	if link := s.SetupLink(); link != "" {
		fmt.Fprintf(u.out, "First administrator (this link works once, for 24 hours):\n  %s\n", link)
	}
	fmt.Fprintf(u.out, "Next:     fettle missing, fettle approve --security, fettle deploy --all --dry-run\n")
	fmt.Fprintf(u.out, "Machines: fettle enroll-token prints the command that enrols another one\n")
	fmt.Fprintf(u.out, "Nothing is installed until someone approves and deploys. Ctrl-C stops.\n")
}
