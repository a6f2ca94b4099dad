package terminal

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
)

// program is a small one with a group of commands.
func program(out, errOut *bytes.Buffer) *cobra.Command {
	root := &cobra.Command{Use: "prog", Short: "Do things"}
	root.SetOut(out)
	root.SetErr(errOut)
	does := func(err error) func(*cobra.Command, []string) error {
		return func(*cobra.Command, []string) error { return err }
	}
	group := &cobra.Command{Use: "things", Short: "All about things"}
	group.AddCommand(&cobra.Command{Use: "list", Short: "List them", Args: cobra.NoArgs, RunE: does(nil)})
	list := &cobra.Command{Use: "people", Short: "List people", Args: cobra.NoArgs, RunE: does(nil)}
	list.AddCommand(&cobra.Command{Use: "add NAME", Short: "Add one", Args: cobra.ExactArgs(1), RunE: does(nil)})
	rank := &cobra.Command{Use: "rank", RunE: does(nil)}
	rank.Flags().String("by", "", "what counts")
	_ = rank.MarkFlagRequired("by") // the flag is there
	root.AddCommand(group, list, rank,
		&cobra.Command{Use: "refuse", RunE: does(fault.New(fault.Denied, "no").WithHint("ask ada"))},
		&cobra.Command{Use: "break", RunE: does(errors.New("disk full"))},
		&cobra.Command{Use: "end", Args: cobra.NoArgs, RunE: does(Exit(fault.ExitUntrusted))})
	return root
}

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		args string
		code int
		says string // on the error stream
	}{
		{"", 0, ""},
		{"help", 0, ""},
		{"help things list", 0, ""},
		{"things", 0, ""},
		{"people", 0, ""},
		{"people add ada", 0, ""},
		{"end", 6, ""},
		{"refuse", 4, "prog: no\n  hint: ask ada\n"},
		{"break", 1, "prog: 'prog break' failed: disk full\n"},
		{"fly", 2, "prog: unknown command \"fly\" for \"prog\"\n  hint: 'prog help' lists all commands\n"},
		{"peple", 2, "prog: unknown command \"peple\" for \"prog\"\n  hint: did you mean people? 'prog help' lists all commands\n"},
		{"help peple", 2, "prog: unknown command \"peple\" for \"prog\"\n  hint: did you mean people? 'prog help' lists all commands\n"},
		{"help things lits", 2, "prog: unknown command \"lits\" for \"prog things\"\n  hint: did you mean list? 'prog help things' lists all commands\n"},
		{"things lits", 2, "prog: unknown command \"lits\" for \"prog things\"\n  hint: did you mean list? 'prog help things' lists all commands\n"},
		{"people ad", 2, "prog: unknown command \"ad\" for \"prog people\"\n  hint: did you mean add? 'prog help people' lists all commands\n"},
		{"end now", 2, "prog: unexpected argument \"now\"\n  hint: it goes 'prog end'; 'prog help end' tells more\n"},
		{"rank", 2, "prog: --by is missing\n  hint: 'prog help rank' shows how it is used\n"},
		{"people add", 2, "prog: the number of arguments does not fit\n  hint: it goes 'prog people add NAME'; 'prog help people add' tells more\n"},
		{"people --fast", 2, "prog: unknown flag: --fast\n  hint: 'prog help people' shows how it is used\n"},
	} {
		var out, errOut bytes.Buffer
		code := Run(t.Context(), program(&out, &errOut), strings.Fields(tc.args))
		if code != tc.code {
			t.Errorf("prog %s: exit code %d, want %d", tc.args, code, tc.code)
		}
		if d := cmp.Diff(tc.says, errOut.String()); d != "" {
			t.Errorf("prog %s: %s", tc.args, d)
		}
		if helped := strings.Contains(out.String(), "Usage:"); helped != (tc.code == 0 && !strings.HasPrefix(tc.args, "people")) {
			t.Errorf("prog %s: help is %v", tc.args, helped)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{fault.New(fault.Denied, "no"), "prog: no\n"},
		{fault.New(fault.Denied, "no").WithHint("ask ada"), "prog: no\n  hint: ask ada\n"},
		{errors.New("disk full"), "prog: disk full\n"},
		{fault.New(fault.Denied, "no\x1b[2J"), "prog: no [2J\n"},
	} {
		var out bytes.Buffer
		Explain(&out, "prog", tc.err)
		if out.String() != tc.want {
			t.Errorf("got %q, want %q", out.String(), tc.want)
		}
	}
}

func TestFold(t *testing.T) {
	const url = "https://vendor.example/a/long/address/that/stays/whole"
	for width, want := range map[int]string{
		0:  "  note: nothing was fetched from " + url + " today\n",
		34: "  note: nothing was fetched from\n        " + url + "\n        today\n",
		20: "  note: nothing was fetched from " + url + " today\n", // too narrow to be worth it
	} {
		if d := cmp.Diff(want, fold("  note: ", "nothing was fetched from "+url+" today", width)); d != "" {
			t.Errorf("width %d: %s", width, d)
		}
	}
	var out bytes.Buffer
	Fold(&out, "a\x1b", "b\rc")
	Say(&out, "%s", "d\x1b")
	if out.String() != "a b c\nd \n" {
		t.Errorf("%q", out.String())
	}
}

func TestPairs(t *testing.T) {
	var out bytes.Buffer
	if err := Pairs(&out, [2]string{"server", "https://a"}, [2]string{"problem"}, [2]string{"last\x1bscan", "nev\rer"}); err != nil || out.String() != "server     https://a\nlast scan  nev er\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
