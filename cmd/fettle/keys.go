package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/terminal"
)

func publishKeysCmd(f *publisherFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "List the signing keys at hand; rotate and renew them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPublisher(cmd, f, func(p *publisher.Publisher) error { return listKeys(cmd, p) })
		},
	}
	var id string
	rotate := &cobra.Command{
		Use: "rotate ROLE", Short: "Replace a key of root, targets, snapshot or timestamp by a new one", Args: cobra.ExactArgs(1),
		Long: `Makes a new key, lets the root keys sign the change, and sets the old key's file
aside (.retired). Servers and agents follow by themselves: the new root is
signed by the old root keys too.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withPublisher(cmd, f, func(p *publisher.Publisher) error {
				added, err := p.RotateKey(cmd.Context(), repo.Role(args[0]), id)
				if err == nil {
					fmt.Fprintf(cmd.OutOrStdout(), "the new %s key is %s\n", args[0], added)
				}
				return err
			})
		},
	}
	rotate.Flags().StringVar(&id, "key", "", "the key to retire, where the role has several")
	cmd.AddCommand(rotate, &cobra.Command{
		Use: "renew-root", Short: "Sign root again before it expires; needs the root keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPublisher(cmd, f, func(p *publisher.Publisher) error {
				if err := p.RenewRoot(cmd.Context()); err != nil {
					return err
				}
				return listKeys(cmd, p)
			})
		},
	})
	return cmd
}

func withPublisher(cmd *cobra.Command, f *publisherFlags, do func(*publisher.Publisher) error) error {
	p, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer p.Close()
	return do(p)
}

func listKeys(cmd *cobra.Command, p *publisher.Publisher) error {
	keys, expires, err := p.Keys()
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"keys": keys, "root_expires": expires})
	}
	var rows [][]string
	for _, k := range keys {
		rows = append(rows, []string{string(k.Role), k.ID})
	}
	if err := terminal.Table(cmd.OutOrStdout(), []string{"ROLE", "ID"}, rows); err != nil {
		return err
	}
	terminal.Say(cmd.OutOrStdout(), "root must be signed again before %s (fettle publisher keys renew-root)", expires.Local().Format(time.DateTime))
	return nil
}
