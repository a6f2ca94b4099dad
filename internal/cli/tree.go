package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// chapter is a part of the help, as docs/cli.md has them.
type chapter struct {
	title    string
	commands []*cobra.Command
}

func chapters(o *options, own []*cobra.Command) []chapter {
	return []chapter{
		{"Look", []*cobra.Command{statusCmd(o), hostsCmd(o), missingCmd(o), patchesCmd(o), syncCmd(o), doctorCmd(o)}},
		{"Decide", []*cobra.Command{approveCmd(o), declineCmd(o), approvalsCmd(o)}},
		{"Deploy and roll back", []*cobra.Command{deployCmd(o), deploymentsCmd(o), rollbackCmd(o)}},
		{"Report and prove", []*cobra.Command{reportCmd(o), auditCmd(o)}},
		{"Machines", []*cobra.Command{enrollTokenCmd(o), groupsCmd(o), sitesCmd(o)}},
		{"People and keys", []*cobra.Command{whoamiCmd(o), usersCmd(o), personKeysCmd(o), tenantsCmd(o)}},
		{"Programs", own},
	}
}

// addTo puts the chapters' commands below root.
func addTo(root *cobra.Command, all []chapter) {
	for _, ch := range all {
		if len(ch.commands) == 0 {
			continue
		}
		root.AddGroup(&cobra.Group{ID: ch.title, Title: ch.title + ":"})
		for _, c := range ch.commands {
			c.GroupID = ch.title
			if c.Runnable() && c.HasSubCommands() && !slices.ContainsFunc(c.Commands(), func(sub *cobra.Command) bool { return sub.Name() == "list" }) {
				c.AddCommand(listOf(c))
			}
			for _, sub := range c.Commands() {
				sub.SuggestFor = alsoCalled(sub.Name())
			}
			c.SuggestFor = alsoCalled(c.Name())
			root.AddCommand(c)
		}
	}
}

// listOf is what a command does by itself, for those who look for it under
// this name.
func listOf(c *cobra.Command) *cobra.Command {
	short := c.Short
	if i := strings.IndexAny(short, ",;"); i > 0 {
		short = short[:i]
	}
	list := &cobra.Command{
		Use: "list", Short: short + " (as '" + c.Name() + "' alone does)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.RunE(cmd, nil) },
	}
	list.Flags().AddFlagSet(c.Flags())
	return list
}

// alsoCalled are words that people of other tools try for a command; it is
// suggested for them.
func alsoCalled(name string) []string {
	return map[string][]string{
		"status":       {"info", "ping"},
		"hosts":        {"machines", "endpoints", "agents", "clients", "inventory", "list"},
		"missing":      {"scan", "updates", "vulnerabilities", "cves"},
		"doctor":       {"check", "health", "diagnose"},
		"approve":      {"accept", "allow"},
		"decline":      {"reject", "deny", "block"},
		"deploy":       {"install", "update", "upgrade", "patch"},
		"deployments":  {"jobs", "tasks"},
		"rollback":     {"undo", "uninstall", "revert", "downgrade"},
		"audit":        {"log", "logs", "history"},
		"enroll-token": {"enrol", "token", "tokens", "join"},
		"whoami":       {"login", "me"},
		"up":           {"start", "run", "init"},
		"publisher":    {"crawl", "repository"},
		"add":          {"create", "new", "make"},
		"set":          {"add", "create", "edit", "change"},
		"remove":       {"delete", "rm", "del", "end", "revoke"},
		"revoke":       {"delete", "rm", "del", "end", "remove"},
		"withdraw":     {"delete", "rm", "del", "end", "remove", "revoke"},
		"cancel":       {"stop", "abort", "end", "delete"},
		"halt":         {"pause", "stop"},
	}[name]
}
