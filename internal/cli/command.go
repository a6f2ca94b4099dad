package cli

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/terminal"
)

// on makes a command's work of a function that asks the server.
func (o *options) on(do func(cmd *cobra.Command, c *client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := o.connect()
		if err != nil {
			return err
		}
		return do(cmd, c, args)
	}
}

// listing is a list that is shown as a table.
type listing[T any] struct {
	path  func(c *client, args []string) string
	query func() url.Values // nil: none
	empty string            // said when there is nothing
	head  []string
	row   func(T) []string
	spare []string // columns that a narrow terminal does without
}

// show follows the list to its end and prints it.
func (l listing[T]) show(o *options) func(*cobra.Command, []string) error {
	return o.on(func(cmd *cobra.Command, c *client, args []string) error {
		var q url.Values
		if l.query != nil {
			q = l.query()
		}
		list, err := all[T](cmd.Context(), c, l.path(c, args), q)
		if err != nil {
			return err
		}
		if o.json {
			return o.printJSON(list)
		}
		if len(list) == 0 {
			o.say("%s", l.empty)
			return nil
		}
		rows := make([][]string, 0, len(list))
		for _, one := range list {
			rows = append(rows, l.row(one))
		}
		return terminal.Table(o.out, l.head, rows, l.spare...)
	})
}

// removal is a command that ends one thing by its id.
// list is the command that shows the ids.
func removal(o *options, use, short, list string, path func(c *client, id string) string, done string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: o.on(func(cmd *cobra.Command, c *client, args []string) error {
			if err := c.call(cmd.Context(), http.MethodDelete, path(c, args[0]), nil, nil, nil); err != nil {
				return listed(err, args[0], list)
			}
			o.say(done, args[0])
			return nil
		}),
	}
}

// listed says of an id that nothing has where the ids are.
func listed(err error, id, list string) error {
	if !fault.Is(err, fault.NotFound) || fault.HintOf(err) != "" {
		return err
	}
	return fault.New(fault.NotFound, "nothing has the id %q", id).WithHint("'%s' lists ids", list)
}

// oneOf refuses a word that a flag or an argument does not know; empty is no
// word.
func oneOf(what, word string, known ...string) error {
	if word == "" || slices.Contains(known, word) {
		return nil
	}
	return fault.New(fault.Invalid, "%s can't be %q", what, word).WithHint("use %s", strings.Join(known, ", "))
}

func knownSeverity(word string) error {
	return oneOf("a severity", word, "critical", "important", "moderate", "low", "unknown")
}

// count is a number of things in words: "1 machine", "3 machines".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
