// Package terminal is how Fettle's programs speak with a person at a terminal:
// command lines with their help and exit codes, errors that say what to do
// next, and tables that fit the screen.
//
// What machines, servers and vendors say is shown to administrators, so
// nothing that is written here can steer a terminal.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
)

// Exit is an error that ends a program with the exit code when everything was
// said already.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Run executes the command line below root and returns the exit code, which is
// fault.ExitCode's. A failure is told on root's error stream in up to two
// lines: what happened, and what to do next. What the parser of the command
// line refuses is wrong use; the errors of commands are faults or count as
// failed work.
func Run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SilenceUsage, root.SilenceErrors, root.DisableSuggestions = true, true, true
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Run, c.RunE = nil, help
		}
	}
	each(root, prepare)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return fault.ExitOK
	}
	if e, ok := errors.AsType[Exit](err); ok {
		return int(e)
	}
	err = misused(cmd, err)
	Explain(root.ErrOrStderr(), root.Name(), err)
	return fault.ExitCode(err)
}

func each(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		each(sub, do)
	}
}

func prepare(c *cobra.Command) {
	if c.HasSubCommands() && !c.Runnable() && c.HasParent() { // cobra would take any word for a call for help, with exit code 0
		c.Args = cobra.NoArgs
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error { return failed(c, run(c, args)) }
	}
}

// failed makes a fault of what a command's work returned: it is not the
// parser's.
func failed(c *cobra.Command, err error) error {
	if err == nil || isFault(err) {
		return err
	}
	if e, ok := errors.AsType[Exit](err); ok {
		return e
	}
	return fault.Wrap(err, fault.Internal, "'%s' failed", c.CommandPath())
}

func isFault(err error) bool {
	_, ok := errors.AsType[*fault.Error](err)
	return ok
}

// help is cobra's own, but that a command which does not exist is wrong use.
func help(c *cobra.Command, args []string) error {
	to, rest, err := c.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return unknown(to, rest[0])
	}
	to.InitDefaultHelpFlag()
	to.InitDefaultVersionFlag()
	return to.Help()
}

func unknown(c *cobra.Command, word string) error {
	c.SuggestionsMinimumDistance = 2
	f := fault.New(fault.Invalid, "unknown command %q for %q", word, c.CommandPath())
	near := c.SuggestionsFor(word)
	if len(near) == 0 {
		return f.WithHint("'%s' lists all commands", helpOf(c))
	}
	slices.Sort(near)
	return f.WithHint("did you mean %s? '%s' lists all commands", strings.Join(slices.Compact(near), " or "), helpOf(c))
}

func helpOf(c *cobra.Command) string {
	root := c.Root().Name()
	return root + " help" + strings.TrimPrefix(c.CommandPath(), root)
}

// misused makes a fault of what the parser of the command line says.
func misused(c *cobra.Command, err error) error {
	if isFault(err) {
		return err
	}
	text, goes := err.Error(), strings.TrimSuffix(c.UseLine(), " [flags]")
	if word, ok := quoted(text, "unknown command %q"); ok {
		if c.HasSubCommands() {
			return unknown(c, word)
		}
		return fault.New(fault.Invalid, "unexpected argument %q", word).WithHint("it goes '%s'; '%s' tells more", goes, helpOf(c))
	}
	if flag, ok := quoted(text, "required flag(s) %q"); ok {
		return fault.New(fault.Invalid, "--%s is missing", flag).WithHint("'%s' shows how it is used", helpOf(c))
	}
	if strings.Contains(text, " arg(s), ") {
		return fault.New(fault.Invalid, "the number of arguments does not fit").WithHint("it goes '%s'; '%s' tells more", goes, helpOf(c))
	}
	return fault.New(fault.Invalid, "%s", text).WithHint("'%s' shows how it is used", helpOf(c))
}

// quoted reads the word that the pattern has in quotes.
func quoted(text, pattern string) (word string, ok bool) {
	_, err := fmt.Sscanf(text, pattern, &word)
	return word, err == nil
}

// Explain tells a person of the program's error: the message, then the hint.
func Explain(w io.Writer, program string, err error) {
	fmt.Fprintf(w, "%s: %s\n", program, Calm(fault.Whole(err)))
	if hint := fault.HintOf(err); hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", Calm(hint))
	}
}
