package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/terminal"
)

func enrollCommand(io streams) *cobra.Command {
	var o agent.EnrollOptions
	var ifNeeded bool
	c := &cobra.Command{
		Use:   "enroll URL --token TOKEN --ca FINGERPRINT --root FINGERPRINT",
		Short: "Give this machine an identity with a server",
		Long: "Give this machine an identity with a server. The fingerprints say which server and which signed repository\n" +
			"are meant; `fettle enroll-token` prints the whole line. Nothing is kept unless both are proven.\n" +
			"The token may also stand in the environment as FETTLE_TOKEN, where other users can't see it.",
		Example: "  fettle-agent enroll https://patch.example.org:8781 --token fe1-... --ca sha256:... --root sha256:...",
		Args:    exactly(1, "the server's address"),
		RunE: func(c *cobra.Command, args []string) error {
			o.State, o.Server, o.Root = stateDir(c), args[0], "/"
			if o.Token == "" {
				o.Token = os.Getenv("FETTLE_TOKEN")
			}
			for _, need := range []struct{ flag, value string }{{"token", o.Token}, {"ca", o.CA}, {"root", o.Repo}} {
				if need.value == "" {
					return fault.New(fault.Invalid, "--%s is missing", need.flag).
						WithHint("'fettle enroll-token' on the server's side prints the whole line; 'fettle-agent help enroll' explains it")
				}
			}
			if s, err := o.State.Settings(); err == nil && ifNeeded && !o.Force {
				_, err := fmt.Fprintf(io.out, "enrolled already as %s with %s\n", s.Endpoint, s.Server)
				return err
			}
			s, err := agent.Enroll(c.Context(), o)
			agent.NoteEnrolment(s, err)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(io.out, "enrolled as %s (tenant %s, site %s) with %s\nnext: %s\n", s.Endpoint, s.Tenant, s.Site, s.Server, nextStep)
			return err
		},
	}
	c.Flags().StringVar(&o.Token, "token", "", "enrolment token")
	c.Flags().StringVar(&o.CA, "ca", "", "fingerprint of the server's CA (sha256:...)")
	c.Flags().StringVar(&o.Repo, "root", "", "fingerprint of the repository's root keys (sha256:...)")
	c.Flags().StringVar(&o.Proxy, "proxy", "", "address of an HTTP proxy; empty takes https_proxy and no_proxy")
	c.Flags().BoolVar(&o.Force, "force", false, "replace the identity that this machine has")
	c.Flags().BoolVar(&ifNeeded, "if-needed", false, "be content with the identity that this machine has, with whatever server")
	return c
}

// relaxGC spares short processes most collections: they end before the garbage
// is worth collecting. The limit keeps large machines' work bounded.
func relaxGC() {
	debug.SetGCPercent(shortGC)
	debug.SetMemoryLimit(shortLimit)
}

const (
	shortGC    = 400
	shortLimit = 128 << 20
)

// The memory of the process that stays: it holds a connection and a journal.
const (
	stayGC    = 30       // percent of growth before a collection
	stayLimit = 24 << 20 // bytes at which collections become eager
)

func runCommand(io streams) *cobra.Command {
	var policy string
	var verbose, service bool
	c := &cobra.Command{
		Use: "run", Short: "Work for the server until stopped", Args: exactly(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			debug.SetGCPercent(stayGC)
			debug.SetMemoryLimit(stayLimit)
			cfg, err := config(c, policy)
			if err != nil {
				return err
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			if service {
				return agent.RunService(cfg, level)
			}
			cfg.Log = slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: level}))
			return agent.Work(c.Context(), cfg, nil)
		},
	}
	c.Flags().StringVar(&policy, "policy", agent.DefaultPolicyFile(), "file with this machine's own limits; it wins over the server")
	c.Flags().BoolVar(&verbose, "verbose", false, "log more")
	c.Flags().BoolVar(&service, "service", false, "run under Windows' service control manager, which starts it so")
	c.Flag("service").Hidden = !hasServices
	return c
}

// config is the same for the agent and for its children.
func config(c *cobra.Command, policy string) (agent.Config, error) {
	self, err := os.Executable()
	if err != nil {
		return agent.Config{}, fault.Wrap(err, fault.Unavailable, "can't find the agent's own program")
	}
	cfg := agent.DefaultConfig(stateDir(c))
	cfg.PolicyFile = policy
	cfg.Child = []string{self, "step", "--state", string(cfg.State), "--policy", policy}
	return cfg, nil
}

// stepCommand is what the agent starts for each piece of work; people have no
// use for it.
func stepCommand(io streams) *cobra.Command {
	var policy string
	c := &cobra.Command{
		Use: "step", Hidden: true, Args: exactly(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			// The agent may die while its child works on: writing to it
			// must not end the child in the middle of an installation.
			if len(brokenPipe) > 0 {
				signal.Ignore(brokenPipe...)
			}
			relaxGC()
			cfg, err := config(c, policy)
			if err != nil {
				return err
			}
			return agent.Step(stepContext(c.Context()), cfg, io.in, io.out)
		},
	}
	c.Flags().StringVar(&policy, "policy", agent.DefaultPolicyFile(), "file with this machine's own limits")
	return c
}

func statusCommand(io streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "status", Short: "Show the agent's server, last contact and tasks", Args: exactly(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := agent.ReadStatus(stateDir(c))
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(io.out, s)
			}
			return statusTable(io.out, s)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func statusTable(out io.Writer, s agent.Status) error {
	pairs := [][2]string{
		{"server", s.Server},
		{"endpoint", fmt.Sprintf("%s (tenant %s, site %s)", s.Endpoint, s.Tenant, s.Site)},
		{"last contact", moment(s.Contact)},
		{"last error", s.Error},
		{"last scan", moment(s.Scanned)},
		{"catalog", fmt.Sprint(s.Catalog)},
		{"problem", s.Problem},
		{"events waiting", fmt.Sprint(s.Waiting)},
	}
	for _, t := range s.Tasks {
		pairs = append(pairs, [2]string{"task " + string(t.Task), fmt.Sprintf("%s, attempt %d, since %s", t.Step, t.Attempt, moment(t.Since))})
	}
	return terminal.Pairs(out, pairs...)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
