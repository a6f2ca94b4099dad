// Command demo makes a small fleet of throw-away Debian machines on this host,
// with an archive that has patches for them, and removes all of it again.
//
//	demo [-machines 3] [-forward ADDR]... [-- COMMAND...]
//
// With a COMMAND it runs it in the server's network namespace, reachable for
// the machines at 10.77.0.1, and ends with it. Without one it waits until it
// is interrupted; -forward lets machines reach a server on this host's
// loopback. -sweep only removes what a crashed run left behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/fettlehq/fettle/test/lab"
)

// archiveAddr is where machines find the archive.
const archiveAddr = lab.ServerAddr + ":8081"

// config is the command line.
type config struct {
	machines int
	sweep    bool
	forward  []string
	command  []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c config
	flag.IntVar(&c.machines, "machines", 3, "how many machines")
	flag.BoolVar(&c.sweep, "sweep", false, "only remove what a crashed run left behind")
	flag.Func("forward", "let machines reach `PORT` of this host's loopback at "+lab.ServerAddr+":PORT (may be repeated)",
		func(v string) error { c.forward = append(c.forward, v); return nil })
	flag.Parse()
	c.command = flag.Args()
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

// run makes the fleet, waits for its end and removes it.
func run(ctx context.Context, c config, out io.Writer) error {
	if c.sweep {
		return lab.Sweep(ctx)
	}
	base, err := lab.Base(ctx, "", out)
	if err != nil {
		return err
	}
	fleet, err := lab.NewFleet(ctx, base, out)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fettle-demo-")
	if err != nil {
		return errors.Join(err, fleet.Close())
	}
	err = stage(ctx, c, fleet, dir, out)
	fmt.Fprintln(out, "demo: removing the machines")
	return errors.Join(err, fleet.Close(), os.RemoveAll(dir))
}

// stage makes the archive for as long as the demonstration lasts.
func stage(ctx context.Context, c config, fleet *lab.Fleet, dir string, out io.Writer) error {
	archive, err := lab.NewArchive(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(play(ctx, c, fleet, archive, out), archive.Close())
}

// play settles the machines, brings the patches out and hands over.
func play(ctx context.Context, c config, fleet *lab.Fleet, archive *lab.Archive, out io.Writer) error {
	cases, err := lab.Scenario(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(lab.AddOld(ctx, archive, cases), archive.Publish(ctx)); err != nil {
		return err
	}
	url, err := fleet.Serve(ctx, archiveAddr, http.FileServerFS(os.DirFS(archive.Dir)))
	if err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range c.machines {
		group.Go(func() error {
			m, err := fleet.Start(gctx, fmt.Sprintf("demo%d", i+1), lab.MachineOptions{})
			if err != nil {
				return err
			}
			return lab.Settle(gctx, m, archive, url, cases)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := errors.Join(lab.AddNew(ctx, archive, cases), archive.Publish(ctx)); err != nil {
		return err
	}
	for _, port := range c.forward {
		if err := fleet.Forward(ctx, lab.ServerAddr+":"+port, "127.0.0.1:"+port); err != nil {
			return err
		}
	}
	return handOver(ctx, c, fleet, url, out)
}

// handOver runs the command in the server's namespace, or waits.
func handOver(ctx context.Context, c config, fleet *lab.Fleet, url string, out io.Writer) error {
	fmt.Fprintf(out, "demo: %d machines are up; patches for them are at %s\n", c.machines, url)
	if len(c.command) == 0 {
		fmt.Fprintln(out, "demo: interrupt (Ctrl-C) to remove everything")
		<-ctx.Done()
		return nil
	}
	fmt.Fprintf(out, "demo: running %s at %s\n", strings.Join(c.command, " "), lab.ServerAddr)
	cmd := exec.CommandContext(ctx, c.command[0], c.command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	fleet.InServerNetns(cmd)
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", c.command[0], err)
	}
	return nil
}
