// Command demo runs Fettle with a small fleet of throw-away Debian machines on
// this host, so that the commands of the README's tour can be tried for real,
// and removes all of it again.
//
//	demo [-machines 3] [-bin bin] [-- COMMAND...]
//
// With a COMMAND it runs it once the machines are enrolled, with FETTLE_DATA
// set, and ends with it. Without one it waits until it is interrupted. -sweep
// only removes what a crashed run left behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/fettlehq/fettle/test/lab"
)

// config is the command line.
type config struct {
	machines int
	bin      string
	sweep    bool
	command  []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// Ctrl-C in a pipe ("make demo | tee log") ends the reader too: writing to it
	// must not end this program before everything is removed.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	var c config
	flag.IntVar(&c.machines, "machines", 3, "how many machines")
	flag.StringVar(&c.bin, "bin", "bin", "folder of fettle and fettle-agent")
	flag.BoolVar(&c.sweep, "sweep", false, "only remove what a crashed run left behind")
	flag.Parse()
	c.command = flag.Args()
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

// run makes everything, waits for its end and removes it.
func run(ctx context.Context, c config, out io.Writer) error {
	if err := sweep(context.WithoutCancel(ctx)); err != nil || c.sweep {
		return err
	}
	base, err := lab.Base(ctx, "", out)
	if err != nil {
		return err
	}
	d, err := open(c.bin, out)
	if err != nil {
		return err
	}
	if d.fleet, err = lab.NewFleet(ctx, base, io.Discard); err != nil {
		return errors.Join(err, d.close())
	}
	err = d.play(ctx, c)
	if ctx.Err() != nil {
		err = nil // interrupted: what broke off, broke off for that
	}
	fmt.Fprintln(out, "demo: removing everything")
	return errors.Join(err, d.close())
}

// play brings everything up and hands over.
func (d *demo) play(ctx context.Context, c config) error {
	if err := d.offer(ctx); err != nil {
		return err
	}
	if err := d.serve(ctx); err != nil {
		return err
	}
	if err := d.machines(ctx, c.machines); err != nil {
		return err
	}
	if len(c.command) > 0 {
		return d.command(ctx, c.command)
	}
	d.welcome(c.machines)
	select {
	case <-ctx.Done():
		return nil
	case <-d.ended:
		return d.over()
	}
}

// command runs a command beside the machines.
func (d *demo) command(ctx context.Context, argv []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), "FETTLE_DATA="+d.data(), "PATH="+d.bin+":"+os.Getenv("PATH"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, d.out, os.Stderr
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	return nil
}

// welcome says what to type next.
func (d *demo) welcome(machines int) {
	fmt.Fprintf(d.out, `
Fettle runs with %d throw-away machines. In a second terminal:

  export FETTLE_DATA=%s
  export PATH=%s:$PATH

and go on with the tour:

  fettle status
  fettle hosts
  fettle missing --security

Console:  %s
Log:      %s
Ctrl-C here removes the machines and everything else.
`, machines, d.data(), d.bin, strings.Join(d.links, "\n          "), d.log())
}
