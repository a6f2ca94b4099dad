package agent

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// stepper does one step; tell, which may be nil, hears its progress.
type stepper interface {
	step(ctx context.Context, req stepRequest, tell func(install.Progress)) (stepReply, error)
}

// children runs each step in a process of its own, whose memory the system
// takes back, and which outlives a killed agent.
type children struct {
	runner run.Runner
	argv   []string
}

// maxLine bounds one line of a child in bytes: plans of thousands of packages
// fit.
const maxLine = 32 << 20

func (c children) step(ctx context.Context, req stepRequest, tell func(install.Progress)) (stepReply, error) {
	in, err := json.Marshal(req)
	if err != nil {
		return stepReply{}, fault.Wrap(err, fault.Internal, "agent: encode a step")
	}
	lines := &lineReader{tell: tell}
	res, err := c.runner.Run(ctx, run.Cmd{
		Argv: c.argv, Stdin: bytes.NewReader(in), Stdout: lines, Outlives: true,
		Inherit: []string{"https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"},
	})
	switch {
	case err != nil:
		return stepReply{}, err
	case lines.reply == nil:
		return stepReply{}, fault.Wrap(res.Err(), fault.Internal, "agent: step %s ended without an answer", req.Step)
	case lines.reply.Fault != nil:
		return *lines.reply, lines.reply.err()
	}
	return *lines.reply, nil
}

// err is what went wrong with the step, with what the server is to look at.
func (r stepReply) err() error {
	if r.Damaged == "" {
		return r.Fault
	}
	f := *r.Fault
	f.Cause = link.Damaged{SHA256: r.Damaged}
	return &f
}

// lineReader takes a child's output apart as it comes.
type lineReader struct {
	tell  func(install.Progress)
	rest  []byte
	reply *stepReply
}

func (l *lineReader) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 {
			break
		}
		var line stepLine
		if err := json.Unmarshal(l.rest[:end], &line); err != nil {
			return 0, fault.Wrap(err, fault.Internal, "agent: a step's output is not understood")
		}
		l.rest = l.rest[end+1:]
		if line.Progress != nil && l.tell != nil {
			l.tell(*line.Progress)
		}
		if line.Reply != nil {
			l.reply = line.Reply
		}
	}
	if len(l.rest) > maxLine {
		return 0, fault.New(fault.Internal, "agent: a step's output has a line of more than %d bytes", maxLine)
	}
	if len(l.rest) == 0 {
		l.rest = nil
	}
	return len(p), nil
}
