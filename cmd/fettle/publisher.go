package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/terminal"
)

// programs are the commands that run parts of Fettle in this process.
func programs() []*cobra.Command { return []*cobra.Command{publisherCmd(), serverCmd(), upCmd()} }

// logger writes structured lines for the journal to w.
func logger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// publisherFlags choose a configuration file, or a publisher of this
// machine's own apt sources below the data folder.
type publisherFlags struct {
	config  string
	verbose bool
}

func (f *publisherFlags) open(cmd *cobra.Command) (*publisher.Publisher, error) {
	cfg, err := f.load(cmd)
	if err != nil {
		return nil, err
	}
	return publisher.New(cmd.Context(), cfg, publisher.Options{Log: logger(cmd.ErrOrStderr(), f.verbose)})
}

func (f *publisherFlags) load(cmd *cobra.Command) (publisher.Config, error) {
	if f.config != "" {
		return publisher.Load(f.config)
	}
	return machinePublisher(dataFlag(cmd)), nil
}

func dataFlag(cmd *cobra.Command) string {
	data, err := cmd.Flags().GetString("data")
	if err != nil {
		return ""
	}
	return data
}

// machinePublisher publishes what this machine's own apt sources offer.
func machinePublisher(data string) publisher.Config {
	dir := filepath.Join(data, "publisher")
	return publisher.Config{
		Data: filepath.Join(dir, "state"), Repository: filepath.Join(data, "repository"), Keys: filepath.Join(dir, "keys"),
		Machine: true, Feeds: publisher.DefaultFeeds(),
	}
}

func publisherCmd() *cobra.Command {
	f := &publisherFlags{}
	cmd := &cobra.Command{
		Use: "publisher", Short: "Crawl vendors and publish a signed Central Patch Repository",
		Long: `Crawls the vendors, adds risk, proves where each patch is from, and publishes
one signed catalog. Without --config it publishes what this machine's own apt
sources offer, below the data folder.`,
	}
	cmd.PersistentFlags().StringVar(&f.config, "config", "", "YAML file; see docs/publisher.md")
	cmd.PersistentFlags().BoolVarP(&f.verbose, "verbose", "v", false, "log details")
	cmd.AddCommand(publishOnceCmd(f), publishRunCmd(f), publishStageCmd(f), publishProveCmd(f), publishVerifyCmd(f), publishFingerprintCmd(f), publishKeysCmd(f), publishSignersCmd(f))
	return cmd
}

// work has the publisher do something while its progress is shown.
func (f *publisherFlags) work(cmd *cobra.Command, do func(*publisher.Publisher, publisher.Progress) error) error {
	p, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer p.Close()
	show, done := tell(cmd.ErrOrStderr())
	defer done()
	return do(p, show)
}

// wantsJSON reports that the command line asks for JSON.
func wantsJSON(cmd *cobra.Command) bool {
	asJSON, err := cmd.Flags().GetBool("json")
	return err == nil && asJSON
}

func publishOnceCmd(f *publisherFlags) *cobra.Command {
	return &cobra.Command{
		Use: "once", Short: "Crawl and publish one time", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var report publisher.Report
			err := f.work(cmd, func(p *publisher.Publisher, show publisher.Progress) (err error) {
				report, err = p.Once(cmd.Context(), show)
				return err
			})
			if err != nil {
				return err
			}
			return printReport(cmd, report)
		},
	}
}

func publishRunCmd(f *publisherFlags) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Crawl and publish again and again", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			return p.Run(cmd.Context(), nil, nil) // it logs every run
		},
	}
}

func publishStageCmd(f *publisherFlags) *cobra.Command {
	return &cobra.Command{
		Use: "stage PATCH...", Short: "Bring the files of patches into the repository, for servers that only mirror it", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.work(cmd, func(p *publisher.Publisher, show publisher.Progress) error {
				return p.Stage(cmd.Context(), ids(args), show)
			})
		},
	}
}

func publishFingerprintCmd(f *publisherFlags) *cobra.Command {
	return &cobra.Command{
		Use: "fingerprint", Short: "Print the fingerprint of the root keys, which servers and agents pin", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fp, err := f.fingerprint(cmd)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), fp)
			return nil
		},
	}
}

// fingerprint reads the repository, also while a publisher works on it; where
// there is none yet, it is made.
func (f *publisherFlags) fingerprint(cmd *cobra.Command) (string, error) {
	cfg, err := f.load(cmd)
	if err != nil {
		return "", err
	}
	if root, err := os.ReadFile(filepath.Join(cfg.Repository, filepath.FromSlash(repo.MetadataPath(repo.Root, 1)))); err == nil {
		return repo.RootFingerprint(root)
	}
	p, err := f.open(cmd)
	if err != nil {
		return "", err
	}
	defer p.Close()
	return p.RootFingerprint()
}

func ids(args []string) []patch.ID {
	out := make([]patch.ID, 0, len(args))
	for _, a := range args {
		out = append(out, patch.ID(a))
	}
	return out
}

func printReport(cmd *cobra.Command, r publisher.Report) error {
	if wantsJSON(cmd) {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else {
		tellReport(cmd.OutOrStdout(), r)
	}
	if len(r.Rejected) > 0 {
		return fault.New(fault.Untrusted, "%d things were not published because a check refused them", len(r.Rejected)).
			WithHint("run with --json to see each with its reason")
	}
	return nil
}

// tellReport writes the report for people.
func tellReport(out io.Writer, r publisher.Report) {
	state := "unchanged"
	if r.Changed {
		state = "new"
	}
	terminal.Say(out, "catalog version %d (%s), %s", r.Version, state, r.Took.Round(time.Millisecond))
	for _, s := range r.Shards {
		terminal.Say(out, "  %s: %d patches, %d packages, %d advisories, %d CVEs, %.1f MiB packed, delta %d bytes",
			s.Platform, s.Patches, s.Items, s.Advisories, s.Vulnerabilities, float64(s.Packed)/(1<<20), s.Delta)
	}
	for _, s := range r.Sources {
		if !s.OK() {
			terminal.Fold(out, "  source "+s.Source+": ", s.LastError)
		} else if c := s.Counts; c.Patches > 0 {
			terminal.Say(out, "  source %s: %d patches, %d advisories, %d rejected", s.Source, c.Patches, c.Advisories, c.Rejected)
		}
	}
	tellDamaged(out, r.Damaged)
	for _, n := range r.Notes {
		terminal.Fold(out, "  note: ", n)
	}
}
