package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server"
	"github.com/fettlehq/fettle/internal/server/store/postgres"
	"github.com/fettlehq/fettle/internal/settings"
	"github.com/fettlehq/fettle/web"
)

// serverFlags are the server's settings on the command line; they win over
// the file.
type serverFlags struct {
	config  string
	verbose bool
	cfg     server.Config
}

func (f *serverFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "YAML file; see docs/server.md")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "log details")
	f.addListeners(cmd)
	f.addDatabase(cmd)
	fl.StringVar(&f.cfg.Repository, "repository", "", "folder or https address of the repository to subscribe to")
	fl.StringVar(&f.cfg.RootFile, "root", "", "the repository's root metadata, brought here by a way that you trust")
}

func (f *serverFlags) addDatabase(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.cfg.Database, "database", "", "PostgreSQL connection string without password, or $FETTLE_DATABASE; SQLite in the data folder if empty")
	fl.StringVar(&f.cfg.DatabasePasswordFile, "database-password-file", "", "file with the database password in its first line")
}

// database settles what the flags and the file leave to the environment, and
// refuses passwords where others can read them.
func database(cfg *server.Config, cmd *cobra.Command, config string) error {
	if flag, err := cmd.Flags().GetString("database"); err == nil && postgres.HasPassword(flag) {
		return fault.New(fault.Invalid, "--database holds a password, and everybody on this machine can read command lines").
			WithHint("leave it out and name a file with --database-password-file, or put the whole string into $FETTLE_DATABASE")
	}
	if info, err := os.Stat(config); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 &&
		(postgres.HasPassword(cfg.Database) || postgres.HasPassword(cfg.DatabaseOwner)) {
		return fault.New(fault.Invalid, "server: everybody on this machine may read the database password in %s", config).
			WithHint("chmod 640 %s, or move the password to a file that database_password_file names", config)
	}
	if cfg.Database == "" {
		cfg.Database = os.Getenv("FETTLE_DATABASE")
	}
	return nil
}

func (f *serverFlags) addListeners(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.cfg.Admin, "admin", "127.0.0.1:8780", "address for people and programs")
	fl.StringVar(&f.cfg.Agents, "agents", ":8781", "address that agents dial")
	fl.StringSliceVar(&f.cfg.Names, "name", nil, "DNS name or address under which machines reach this server; the first stands in enrolment commands")
}

func (f *serverFlags) load(cmd *cobra.Command, log *slog.Logger) (server.Config, error) {
	cfg := f.cfg
	if f.config != "" {
		k := koanf.New(".")
		if err := k.Load(file.Provider(f.config), yaml.Parser()); err != nil {
			return cfg, fault.Wrap(err, fault.Invalid, "server: the configuration file %s can't be read", f.config)
		}
		var fromFile server.Config
		if err := k.Unmarshal("", &fromFile); err != nil {
			return cfg, fault.Wrap(err, fault.Invalid, "server: the configuration file %s does not have the right form", f.config)
		}
		unknown, err := settings.Unknown(k, &server.Config{})
		if err != nil {
			return cfg, err
		}
		if len(unknown) > 0 {
			return cfg, fault.New(fault.Invalid, "server: the configuration file %s has settings that are not known: %s", f.config, strings.Join(unknown, ", ")).
				WithHint("nothing was started; docs/server.md lists the settings")
		}
		cfg = over(fromFile, cfg, cmd)
	}
	if cfg.Data == "" || cmd.Flags().Changed("data") {
		cfg.Data = dataFlag(cmd)
	}
	if err := database(&cfg, cmd, f.config); err != nil {
		return cfg, err
	}
	cfg.Log, cfg.Console = log, web.Handler()
	return cfg, cfg.Validate()
}

// over puts flags that were given over what the file says.
func over(base, flags server.Config, cmd *cobra.Command) server.Config {
	set := func(name string, into *string, value string) {
		if cmd.Flags().Changed(name) || *into == "" {
			*into = value
		}
	}
	set("admin", &base.Admin, flags.Admin)
	set("agents", &base.Agents, flags.Agents)
	set("repository", &base.Repository, flags.Repository)
	set("root", &base.RootFile, flags.RootFile)
	set("database", &base.Database, flags.Database)
	set("database-password-file", &base.DatabasePasswordFile, flags.DatabasePasswordFile)
	if len(flags.Names) > 0 {
		base.Names = flags.Names
	}
	return base
}

// tellPorts prints the addresses where the system was asked to choose a port.
func tellPorts(w io.Writer, asked server.Config, s *server.Server) {
	if strings.HasSuffix(asked.Admin, ":0") {
		fmt.Fprintf(w, "People:   %s\n", s.ConsoleURL())
	}
	if strings.HasSuffix(asked.Agents, ":0") {
		fmt.Fprintf(w, "Agents:   %s\n", s.AgentsAddress())
	}
}

func serverCmd() *cobra.Command {
	f := &serverFlags{}
	cmd := &cobra.Command{
		Use: "server", Short: "Serve agents and people at a site", Args: cobra.NoArgs,
		Long: `Subscribes to a signed repository, assesses machines, leads patches through
approval and deploys them. The repository can be this machine's own publisher,
another one's over https, or a folder that somebody carried here.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logger(cmd.ErrOrStderr(), f.verbose)
			cfg, err := f.load(cmd, log)
			if err != nil {
				return err
			}
			s, err := server.New(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer s.Close()
			if err := s.Listen(cmd.Context()); err != nil {
				return err
			}
			tellPorts(cmd.OutOrStdout(), cfg, s)
			if link := s.SetupLink(); link != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "First administrator: %s\n", link)
			}
			return s.Run(cmd.Context())
		},
	}
	f.add(cmd)
	return cmd
}
