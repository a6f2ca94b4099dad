// Command aptdriver runs the apt installer inside a machine of the lab, as the
// agent's child process does: one request as JSON on standard input, progress
// and one reply as lines of JSON on standard output.
//
// Its payload store is filled from a folder of files named by their SHA-256,
// where an agent would ask the server.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/agent/install/apt"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
	"github.com/fettlehq/fettle/test/endpoint/aptdriver/order"
	"github.com/fettlehq/fettle/test/lab/endtime"
)

func main() {
	signal.Ignore(syscall.SIGPIPE)
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "aptdriver:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	var req order.Request
	if err := json.NewDecoder(in).Decode(&req); err != nil {
		return err
	}
	if req.Log != "" {
		f, err := os.Create(req.Log)
		if err != nil {
			return err
		}
		defer f.Close()
		out = io.MultiWriter(f, out)
	}
	enc := json.NewEncoder(out)
	start := time.Now()
	ctx, up := limit(ctx, req.UpAt)
	reply, err := answer(ctx, req, func(p install.Progress) {
		_ = enc.Encode(order.Line{Progress: &p})
		up(p.Line)
	})
	reply.Seconds = time.Since(start).Seconds()
	if err != nil {
		reply.Fault = fault.New(fault.CodeOf(err), "%s", fault.Public(err)).WithHint("%s", fault.HintOf(err))
		reply.Private = err.Error()
	}
	return enc.Encode(order.Line{Reply: &reply})
}

func answer(ctx context.Context, req order.Request, tell func(install.Progress)) (order.Reply, error) {
	snap, _, err := agent.Inventory(ctx, "/", false)
	if err != nil {
		return order.Reply{}, err
	}
	job := install.Job{
		Task: req.Task, Attempt: req.Attempt, Patches: req.Patches, Archives: req.Archives, Snapshot: &snap,
		Conffile: req.Conffile, Dir: req.Dir,
		Payload: func(_ context.Context, sum string) (string, error) { return payload(req, sum) },
	}
	for _, dir := range []string{req.Dir, req.Store} {
		if dir != "" {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return order.Reply{}, err
			}
		}
	}
	in := apt.New(run.OS{})
	switch req.Step {
	case order.Look:
		return order.Reply{Snapshot: &snap}, nil
	case order.Plan:
		p, err := in.Plan(ctx, job)
		return order.Reply{Plan: &p}, err
	case order.Install:
		r, err := in.Install(ctx, job, tell)
		return order.Reply{Result: &r}, err
	case order.Recover:
		r, done, err := in.Recover(ctx, job)
		return order.Reply{Result: &r, Done: done}, err
	}
	return order.Reply{}, fault.New(fault.Invalid, "unknown step %q", req.Step)
}

// payload copies a file into the store, as an agent fetches it from the
// server, and proves its hash unless the request asks to be careless.
func payload(req order.Request, sum string) (string, error) {
	path := filepath.Join(req.Store, sum)
	if sum == req.PauseAt {
		pause()
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	src, err := os.Open(filepath.Join(req.Payloads, sum[:2], sum))
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "payload %s can't be had", sum)
	}
	defer src.Close()
	dst, err := os.Create(path + ".part")
	if err != nil {
		return "", fault.Wrap(err, diskCode(err), "payload %s can't be stored", sum)
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(dst, h), src)
	if err = errors.Join(err, dst.Close()); err != nil {
		_ = os.Remove(path + ".part")
		return "", fault.Wrap(err, diskCode(err), "payload %s can't be stored", sum)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum && !req.Careless {
		return "", fault.New(fault.Untrusted, "payload %s has the hash %s", sum, got)
	}
	return path, os.Rename(path+".part", path)
}

// limit ends the context's time as order.Request.UpAt says; said is told each
// line of progress.
func limit(ctx context.Context, at string) (_ context.Context, said func(line string)) {
	if at == "" {
		return ctx, func(string) {}
	}
	ctx, end := endtime.Context(ctx)
	if filepath.IsAbs(at) {
		go func() {
			wait(at)
			end()
		}()
	}
	return ctx, func(line string) {
		if strings.Contains(line, at) {
			end()
		}
	}
}

// wait waits for a file.
func wait(path string) {
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// pause tells the test that it is time, and waits for it.
func pause() {
	_ = os.WriteFile(order.Paused, nil, 0o600)
	wait(order.GoOn)
}

func diskCode(err error) fault.Code {
	if errors.Is(err, syscall.ENOSPC) {
		return fault.Exhausted
	}
	return fault.Internal
}
