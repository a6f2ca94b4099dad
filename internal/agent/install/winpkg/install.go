package winpkg

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Install does what Plan showed. All files are brought and checked before the
// first one is run; one that is refused (Untrusted) refuses the whole job. An
// error says that nothing was changed (Unavailable also when another
// installation was at work all the time), or, as Cancelled, that the time was
// up: what ran then was ended with all that it had started.
func (in *Installer) Install(ctx context.Context, job install.Job, report func(install.Progress)) (deploy.Result, error) {
	timeout := job.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	plan, steps := in.plan(job)
	s := &session{in: in, job: job, report: report, total: len(steps), failed: map[patch.ID]bool{}}
	s.res = deploy.Result{Attempt: job.Attempt, Started: time.Now().UTC(), Refused: plan.Refused}
	if len(steps) == 0 {
		s.res.Ended = time.Now().UTC()
		return s.res, nil
	}
	if err := in.room(job, plan, true); err != nil {
		return s.res, err
	}
	work, err := in.layAll(ctx, job, steps)
	defer func() {
		for _, l := range work {
			l.release()
		}
	}()
	if err != nil {
		return s.res, err
	}
	if err := s.begin(ctx, steps); err != nil {
		return s.res, err
	}
	err = s.run(ctx, work)
	if fault.Is(err, fault.Cancelled) {
		s.calmDown(context.WithoutCancel(ctx))
	}
	s.judge(context.WithoutCancel(ctx))
	s.res.Ended = time.Now().UTC()
	if err != nil && (len(s.res.Changes) == 0 || fault.Is(err, fault.Cancelled)) {
		if len(s.res.Changes) == 0 && !fault.Is(err, fault.Cancelled) {
			dropBegun(job)
		}
		return s.res, err
	}
	if err != nil {
		s.res.Failures = append(s.res.Failures, deploy.ItemError{Package: s.now, Reason: fault.Public(err)})
	}
	if !s.without(context.WithoutCancel(ctx), steps) {
		dropBegun(job)
	}
	s.say(100, "")
	return s.res, nil
}

// layAll lays out the files of all steps.
func (in *Installer) layAll(ctx context.Context, job install.Job, steps []step) ([]*laid, error) {
	trust, err := trustOf(job.CodeSigning)
	if err != nil {
		return nil, err
	}
	var out []*laid
	for n, s := range steps {
		l, err := in.lay(ctx, job, n, s, trust, time.Now())
		if err != nil {
			return out, err
		}
		if s.spare != nil { // what can't be had is no reason not to try
			l.back, l.noBack = in.lay(ctx, job, len(steps)+n, step{patch: *s.spare}, trust, time.Now())
		}
		out = append(out, l)
	}
	return out, nil
}

// session is one Install at work.
type session struct {
	in     *Installer
	job    install.Job
	mu     sync.Mutex // report is never called twice at once
	report func(install.Progress)
	res    deploy.Result
	begun  begun
	failed map[patch.ID]bool
	total  int
	done   int
	now    string // what is worked on
	output []string
	// idle are products whose installers said "done" though Windows lists
	// what it listed before.
	idle []idle
}

type idle struct {
	patch patch.Patch
	code  int64
}

func (s *session) say(percent int, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report(install.Progress{Percent: percent, Line: line, Package: s.now})
}

func (s *session) line(text string) { s.say(min(99, s.done*100/max(s.total, 1)), text) }

// run does the steps in their order. What needs a patch that failed is left
// out; the others go on.
func (s *session) run(ctx context.Context, work []*laid) error {
	for _, l := range work {
		s.now = l.patch.Product
		if why := s.leftOut(l.step); why != "" {
			s.fail(l.step, why)
			continue
		}
		out, err := s.one(ctx, l)
		if fault.Is(err, fault.Cancelled) || fault.Is(err, fault.Unavailable) {
			return s.stopped(ctx, l, err)
		}
		if err != nil {
			s.fail(l.step, fault.Public(err))
		} else {
			s.done++
			if s.settle(ctx, l, out) {
				s.stopHere(work, l)
				return nil
			}
		}
		if l.replaces {
			s.replaced(ctx, l, out)
		}
	}
	return nil
}

// settle takes what an installer said; stop reports that nothing more may be
// begun.
func (s *session) settle(ctx context.Context, l *laid, out Outcome) (stop bool) {
	removed := l.undo && (out.Meaning == patch.ExitOK || out.Meaning == patch.ExitRebootDue)
	if removed && !s.goneFor(ctx, l) && l.older != nil {
		s.fail(l.step, "the version before it ("+l.older.Version+") could not be uninstalled: Windows still lists it after exit code "+codeText(out.Code))
		return false
	}
	return s.take(l, out)
}

// stopped ends a run early. A product that had to make room is put back first.
func (s *session) stopped(ctx context.Context, l *laid, err error) error {
	if !l.replaces {
		return err
	}
	s.calmDown(context.WithoutCancel(ctx))
	if words := s.putBack(ctx, l); words != "" {
		return fault.Wrap(err, fault.CodeOf(err), "%s; %s", fault.Public(err), words)
	}
	return err
}

// goneFor waits until a removal is over: uninstallers end before the copy of
// themselves that does the work, which runs from the private folder for
// temporary files. Nothing may be installed over it meanwhile. It is false when
// Windows still lists the product.
func (s *session) goneFor(ctx context.Context, l *laid) bool {
	for start := time.Now(); time.Since(start) < removalWait; {
		have, err := s.in.stock(ctx)
		if err != nil || stillRuns(l.dir) == "" && !s.listed(l, have) {
			return true
		}
		if !pause(ctx, settlePause) {
			return false
		}
	}
	return false
}

// calmDown waits, after an installer was ended by the time, until Windows
// Installer's service has taken back what it was asked for: it is not part of
// the installer and can't be ended.
func (s *session) calmDown(ctx context.Context) {
	for start := time.Now(); installing() != "" && time.Since(start) < removalWait; {
		if !pause(ctx, settlePause) {
			return
		}
	}
}

// leftOut says why a step is not even tried.
func (s *session) leftOut(st step) string {
	if s.failed[st.follows] && st.follows == st.patch.ID {
		return "left out, as the version before it could not be uninstalled"
	}
	if s.failed[st.follows] {
		return "left out, as " + string(st.follows) + " could not be removed"
	}
	for _, id := range st.patch.Requires {
		if s.failed[id] && !st.undo {
			return "left out, as " + string(id) + ", which it requires, failed"
		}
	}
	return ""
}

func (s *session) fail(st step, why string) {
	s.failed[st.patch.ID] = true
	s.res.Failures = append(s.res.Failures, deploy.ItemError{Package: st.patch.Product, Version: version(st.patch), Reason: why})
}

// one runs one installer, and again while another installation is at work.
func (s *session) one(ctx context.Context, l *laid) (Outcome, error) {
	start, wait, last := time.Now(), firstPause, time.Duration(0)
	for {
		why := installing()
		if why == "" {
			began := time.Now()
			out, err := s.call(ctx, l)
			if err != nil || out.Meaning != patch.ExitBusy {
				return out, err
			}
			why, last = out.Reason, time.Since(began)
		}
		if err := s.waitBusy(ctx, start, wait, last, why); err != nil {
			return Outcome{}, err
		}
		wait = min(2*wait, lastPause)
	}
}

// call runs one installer once.
func (s *session) call(ctx context.Context, l *laid) (Outcome, error) {
	have, err := s.in.stock(ctx)
	if err != nil {
		return Outcome{}, fault.Wrap(err, fault.CodeOf(err), "winpkg: can't read what is installed")
	}
	w := NewWork(s.in.runner, l.patch, l.dir, l.files, s.line)
	if found := machineRows(list(have), l.patch); len(found) > 0 {
		w.Product, l.product = &found[0], &found[0]
	}
	if l.older != nil {
		w.Product, l.product = l.older, l.older
	}
	s.line(verb(l.step) + " " + l.patch.Product + " " + version(l.patch))
	defer s.beat(ctx)()
	kind := s.in.kinds[l.patch.Install.Kind]
	if l.undo {
		return kind.Uninstall(ctx, w)
	}
	return kind.Install(ctx, w)
}

// beat says every now and then, until stop is called, that an installer is
// still at work: silent ones say nothing for long.
func (s *session) beat(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	start, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		for pause(ctx, beatPause) {
			s.line("still at work after " + time.Since(start).Round(time.Second).String())
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func verb(st step) string {
	if st.undo {
		return "removing"
	}
	return "installing"
}

// waitBusy waits a while for another installation to end, unless the time that
// is left may be too short for one more call: the last one took as long as last,
// and a machine that is at work takes longer now and then.
func (s *session) waitBusy(ctx context.Context, start time.Time, wait, last time.Duration, why string) error {
	end, limited := ctx.Deadline()
	if time.Since(start) < busyWait && (!limited || time.Until(end) > wait+3*last) {
		s.line("waiting: " + why)
		if pause(ctx, wait) {
			return nil
		}
	}
	return fault.New(fault.Unavailable, "another installation was at work for %s: %s; %s was not installed", time.Since(start).Round(time.Second), why, s.now).
		WithHint("the next attempt goes on by itself")
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// take notes what the installer said. stop reports that the machine is about
// to restart, so that nothing more may be begun.
func (s *session) take(l *laid, out Outcome) (stop bool) {
	if s.res.ExitCode == 0 {
		s.res.ExitCode = int(out.Code)
	}
	said := l.patch.Product + ": exit code " + strconv.FormatInt(out.Code, 10)
	if out.Reason != "" {
		said += ", " + out.Reason
	}
	s.output = append(s.output, said)
	if out.Output != "" {
		s.output = append(s.output, out.Output)
	}
	s.line(said)
	switch out.Meaning {
	case patch.ExitOK:
		if !l.undo && s.in.kinds[l.patch.Install.Kind].Registers() {
			s.idle = append(s.idle, idle{l.patch, out.Code})
		}
	case patch.ExitNotNeeded:
	case patch.ExitRebootDue, patch.ExitRebootBegun:
		s.res.RebootDue = true
		return out.Meaning == patch.ExitRebootBegun
	default:
		why := out.Reason
		if who := holders(l.product); who != "" {
			why += "; these run from the product's folder and may keep its files: " + who
		}
		s.fail(l.step, why)
	}
	return false
}

// stopHere leaves the steps after l to the next attempt.
func (s *session) stopHere(work []*laid, l *laid) {
	for _, left := range work[slices.Index(work, l)+1:] {
		s.fail(left.step, "left for the next attempt: the installer of "+l.patch.Product+" has begun to restart the machine")
	}
}
