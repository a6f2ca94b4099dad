package cli

import (
	"net/url"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/terminal"
)

// packagesCmd lists what a machine has.
func packagesCmd(o *options) *cobra.Command {
	var search, kind string
	cmd := &cobra.Command{
		Use: "packages HOST", Short: "List the packages and products that a machine has", Args: cobra.ExactArgs(1),
		RunE: o.on(func(cmd *cobra.Command, c *client, args []string) error {
			h, err := c.host(cmd, args[0])
			if err != nil {
				return err
			}
			q := url.Values{}
			set(q, "q", search)
			set(q, "kind", kind)
			list, err := all[inventory.Package](cmd.Context(), c, c.tenantPath("hosts", string(h.ID), "packages"), q)
			if err != nil {
				return err
			}
			if o.json {
				return o.printJSON(list)
			}
			if len(list) == 0 {
				o.say("No package fits.")
				return nil
			}
			rows := make([][]string, 0, len(list))
			for _, p := range list {
				rows = append(rows, []string{packageName(p), p.Version, p.Arch, p.Kind, p.Publisher, packageNotes(p)})
			}
			return terminal.Table(o.out, []string{"NAME", "VERSION", "ARCH", "KIND", "PUBLISHER", "NOTES"}, rows, "KIND", "PUBLISHER")
		}),
	}
	cmd.Flags().StringVar(&search, "search", "", "part of a name, a title or a publisher")
	cmd.Flags().StringVar(&kind, "kind", "", "one kind alone, such as dpkg, arp (products of Windows) or kb")
	return cmd
}

// packageName is what people know a package by.
func packageName(p inventory.Package) string {
	if p.Title != "" {
		return p.Title
	}
	return p.Name
}

func packageNotes(p inventory.Package) string {
	switch {
	case p.Broken != "":
		return p.Broken
	case p.Hold:
		return "held"
	}
	return p.Scope
}
