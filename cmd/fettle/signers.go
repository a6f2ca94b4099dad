package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/publisher/lab"
	"github.com/fettlehq/fettle/internal/terminal"
)

func publishSignersCmd(f *publisherFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "signers", Short: "List who signs the programs for Windows; accept a new signer", Args: cobra.NoArgs,
		Long: `Lists whom each product's installers must be signed by. A product is pinned to
whoever signed the first installer that was proven; another signer is refused
until a person accepts it here, or names it in authenticode.publishers. It may
be used while a publisher runs.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(cmd)
			if err != nil {
				return err
			}
			all, err := publisher.Signers(cfg)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
			}
			return listSigners(cmd.OutOrStdout(), all, cfg.Authenticode.Publishers)
		},
	}
	var only bool
	accept := &cobra.Command{
		Use: "accept PACKAGE SIGNER", Short: "Let a signer that was refused sign a package, or confirm the one that is pinned", Args: cobra.ExactArgs(2),
		Long: `Look first whether the maker really signs by that name now: whoever is accepted
may have programs run on every machine that has the product. The name is the one
that the list shows, as it stands. Those accepted before stay good for older
versions unless --only is given. The next run of the publisher takes it up.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := f.load(cmd)
			if err != nil {
				return err
			}
			s, err := publisher.AcceptSigner(cfg, args[0], args[1], only, time.Now())
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s may be signed by %s; the next run of the publisher takes it up\n", s.Product, strings.Join(s.Names, ", "))
			}
			return err
		},
	}
	accept.Flags().BoolVar(&only, "only", false, "whoever was accepted before does not count any more")
	cmd.AddCommand(accept)
	return cmd
}

// listSigners writes the list for people, those that want a decision last.
func listSigners(out io.Writer, all []lab.Signer, named map[string]string) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "no signer is known: this publisher has proven no program for Windows so far (docs/winget.md, docs/microsoft.md say how)")
		return err
	}
	var rows [][]string
	for _, s := range all {
		since := ""
		if !s.Since.IsZero() {
			since = s.Since.Format(time.DateOnly)
		}
		rows = append(rows, []string{s.Product, strings.Join(s.Names, ", "), since, word(s, named) + "; " + maker(s)})
	}
	if err := terminal.Table(out, []string{"PRODUCT", "SIGNED BY", "SINCE", "NOTE"}, rows, "SINCE"); err != nil {
		return err
	}
	for _, s := range all {
		if r := s.Refused; r != nil {
			_, id, _ := strings.Cut(s.Product, " ")
			terminal.Say(out, "refused: %s is signed by %s (%s), seen %s. If that is its maker: fettle publisher signers accept %s %q",
				r.Patch, r.Name, r.Organization, r.Since.Format(time.DateOnly), id, r.Name)
		}
	}
	return nil
}

// maker says whether the signer is whom the manifest calls the maker.
func maker(s lab.Signer) string {
	switch {
	case s.Fits():
		return "the manifest names the same maker"
	case s.Maker != "":
		return "the manifest names another maker, " + s.Maker
	}
	return "the manifest names no maker"
}

// word says who vouches for a signer.
func word(s lab.Signer, named map[string]string) string {
	_, id, _ := strings.Cut(s.Product, " ")
	for name, who := range named {
		if strings.EqualFold(name, id) {
			return "configuration: " + who
		}
	}
	if !s.Confirmed.IsZero() {
		return "accepted " + s.Confirmed.Format(time.DateOnly)
	}
	return "first seen, nobody confirmed"
}
