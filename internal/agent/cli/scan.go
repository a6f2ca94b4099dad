package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/terminal"
)

func scanCommand(io streams) *cobra.Command {
	var o agent.ScanOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "scan",
		Short: "Show what this machine lacks",
		Long: "Show what this machine lacks, with the reason for each finding. It changes nothing and needs no server:\n" +
			"with --catalog any shard file will do, without it the agent's own verified catalog is used.",
		Args: exactly(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			relaxGC()
			o.State = stateDir(c)
			r, err := agent.Scan(c.Context(), o, time.Now())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(io.out, r)
			}
			return scanTable(io.out, r)
		},
	}
	c.Flags().StringVar(&o.Catalog, "catalog", "", "shard file to compare with (plain or .zst)")
	c.Flags().StringVar(&o.Root, "root", "/", "folder of the system to look at")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func inventoryCommand(io streams) *cobra.Command {
	var root string
	var packages bool
	c := &cobra.Command{
		Use: "inventory", Short: "Show what this machine has, as the server gets it (JSON)", Args: exactly(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			relaxGC()
			s, problems, err := agent.Inventory(c.Context(), root, packages)
			if err != nil {
				return err
			}
			if !packages {
				cfg := agent.DefaultConfig(stateDir(c))
				cfg.Root = root
				if err := agent.Answers(c.Context(), cfg, &s); err != nil {
					problems = append(problems, fault.Public(err))
				}
			}
			for _, p := range problems {
				_, _ = fmt.Fprintf(io.err, "could not be learned: %s\n", terminal.Calm(p)) // a warning beside the answer
			}
			if packages {
				return packageLines(io.out, s.Packages)
			}
			return writeJSON(io.out, s)
		},
	}
	c.Flags().StringVar(&root, "root", "/", "folder of the system to look at")
	c.Flags().BoolVar(&packages, "packages", false, "print name:architecture, version and, where it differs, title of each package instead")
	return c
}

func packageLines(out io.Writer, all []inventory.Package) error {
	var b strings.Builder
	for _, p := range all {
		b.WriteString(p.Name + ":" + p.Arch + "\t" + p.Version)
		if p.Title != "" && p.Title != p.Name { // products whose name is a number
			b.WriteString("\t" + p.Title)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(out, terminal.Calm(b.String()))
	return err
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func scanTable(out io.Writer, r agent.ScanReport) error {
	missing := 0
	var rows [][]string
	for _, f := range r.Missing {
		if f.State == catalog.Missing {
			missing++
		}
		rows = append(rows, []string{name(f, r), f.Installed, f.Available, severity(f), string(f.State), f.Reason})
	}
	if len(rows) > 0 {
		if err := terminal.Table(out, []string{"PACKAGE", "INSTALLED", "AVAILABLE", "SEVERITY", "STATE", "REASON"}, rows, "INSTALLED"); err != nil {
			return err
		}
	}
	of := ""
	if !r.Created.IsZero() {
		of = r.Created.UTC().Format(" of 2006-01-02 15:04 UTC")
	}
	terminal.Say(out, "%s (%s): %d of %d packages lack a patch; catalog %d%s", r.Hostname, r.OS, missing, r.Packages, r.Catalog, of)
	if r.RebootDue {
		terminal.Fold(out, "a reboot is due: ", strings.Join(r.RebootReasons, ", "))
	}
	if len(r.RestartsDue) > 0 {
		terminal.Fold(out, "services that run replaced files: ", strings.Join(r.RestartsDue, ", "))
	}
	slices.Sort(r.Notes) // each slice of the catalog repeats the publisher's
	for _, n := range slices.Compact(r.Notes) {
		terminal.Fold(out, "note: ", n)
	}
	for _, p := range r.Problems {
		terminal.Fold(out, "could not be learned: ", p)
	}
	return nil
}

// name is what people call it, with the architecture where it is not the
// machine's own. Windows knows its products by numbers.
func name(f catalog.Finding, r agent.ScanReport) string {
	switch f.Kind {
	case "arp", "upgrade", "app", "msi", "appx":
		f.Package = cmp.Or(f.Product, f.Package)
	}
	if f.Arch == "" || f.Arch == "all" || strings.HasSuffix(r.Platform, "-"+f.Arch) {
		return f.Package
	}
	return f.Package + ":" + f.Arch
}

func severity(f catalog.Finding) string {
	s := string(f.Severity)
	if f.Exploited {
		s += ", exploited"
	}
	return s
}
