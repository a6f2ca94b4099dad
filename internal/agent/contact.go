package agent

import (
	"context"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/schedule"
	"github.com/fettlehq/fettle/internal/buildinfo"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// scanEvery is the longest time between two scans. In between, a change of
// the package manager's database or the server's wish brings one about.
const scanEvery = 8 * time.Hour

// hurryPause stands between two check-ins at least.
const hurryPause = 500 * time.Millisecond

// restBefore is the wait before which the agent makes itself small.
const restBefore = 5 * time.Second

// contact checks in for ever: when the time has come, or in a hurry.
func (a *Agent) contact(ctx context.Context) error {
	var back schedule.Backoff
	for {
		next, err := a.checkIn(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the agent was asked to stop
		}
		wait := schedule.CheckIn(next)
		if err != nil {
			wait = back.Next()
			a.log.Warn("check-in failed", "error", err, "again_in", wait.Round(time.Second))
		} else {
			back.Reset()
		}
		a.note(err)
		if wait > restBefore {
			rest()
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-a.hurry:
			if !pause(ctx, hurryPause) { // however often somebody calls
				return nil
			}
		case <-t.C:
		}
		t.Stop()
	}
}

// checkIn scans when due, reports, and takes what the server answers. It
// returns the seconds until the next one.
func (a *Agent) checkIn(ctx context.Context) (next int, err error) {
	if err := a.scanIfDue(ctx); err != nil {
		return 0, err
	}
	if err := a.renewIfDue(ctx); err != nil {
		a.log.Warn("certificate not renewed", "error", err) // a third of its life is left to try again
	}
	reply, err := a.exchange(ctx, false)
	if err == nil && reply.WantHashes {
		reply, err = a.exchange(ctx, true)
	}
	if err != nil {
		return 0, err
	}
	if len(reply.Want) > 0 {
		if _, err := a.steps.step(ctx, stepRequest{Step: stepUpload, Want: reply.Want}, nil); err != nil {
			return 0, err
		}
	}
	a.mu.Lock()
	a.accepted = a.summary.Root
	follow := a.followDue(reply.Catalog, reply.Scan, time.Now())
	a.rescan = a.rescan || reply.Scan
	a.mu.Unlock()
	if err := a.take(reply.Orders, time.Now()); err != nil {
		return 0, err
	}
	if err := a.sweep(time.Now()); err != nil {
		a.log.Warn("old work files stay", "error", err)
	}
	if follow && !a.sync(ctx, reply.Catalog) {
		reply.Next = min(max(reply.Next, 1), int(followAgain/time.Second))
	}
	if reply.Scan {
		poke(a.hurry)
	}
	poke(a.post)
	return reply.Next, nil
}

// exchange is one check-in. Hashes go along when asked for, or when they
// changed since the server last took them.
func (a *Agent) exchange(ctx context.Context, hashes bool) (wire.CheckInReply, error) {
	a.mu.Lock()
	in := wire.CheckIn{
		Protocol: wire.Protocol, Root: a.summary.Root, Scanned: a.summary.Scanned, Catalog: a.catalog,
		AgentVersion: buildinfo.Read().Version, BootID: a.bootID, Problem: a.problems(), Now: time.Now().UTC(),
	}
	if hashes || (a.summary.Root != a.accepted && a.accepted != "") {
		in.Sections = a.summary.Sections
	}
	gate := a.gate
	a.mu.Unlock()
	return gate.CheckIn(ctx, in)
}

// maxProblem bounds the text in a check-in, in bytes.
const maxProblem = 2 << 10

// problems joins what is wrong; the caller holds the lock.
func (a *Agent) problems() string {
	var all []string
	for _, p := range append([]string{a.journalProblem, a.catalogProblem, a.scanProblem}, a.summary.Problems...) {
		if p != "" {
			all = append(all, p)
		}
	}
	text := strings.Join(all, "; ")
	return strings.ToValidUTF8(text[:min(len(text), maxProblem)], "")
}

// followEvery is the longest time between two looks at the signed repository:
// a server that always says that there is nothing new can't hide that the
// catalog has expired. After a refusal the agent looks again soon.
const (
	followEvery = scanEvery
	followAgain = 10 * time.Minute
)

// followDue reports whether to look at the repository; the caller holds the
// lock. newest is what the server says to have, 0 for nothing; asked is a
// person's wish for a scan.
func (a *Agent) followDue(newest int64, asked bool, now time.Time) bool {
	since := now.Sub(a.followed)
	switch {
	case newest == 0:
		return false
	case a.catalogProblem != "":
		return asked || newest != a.offered || since > followAgain
	}
	return newest > a.catalog || since > followEvery
}

// sync follows the repository in a child; a refusal becomes the problem that
// the server is told, and the last good catalog stays. offered is what the
// server says to have. It reports whether all went well.
func (a *Agent) sync(ctx context.Context, offered int64) bool {
	reply, err := a.steps.step(ctx, stepRequest{Step: stepSync}, nil)
	if ctx.Err() != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.catalogProblem
	a.catalogProblem, a.followed, a.offered = "", time.Now(), offered
	if err != nil {
		a.catalogProblem = "catalog: " + fault.Public(err)
		a.log.Warn("catalog not brought up to date", "error", err)
	}
	if reply.Catalog > a.catalog || a.catalogProblem != before {
		poke(a.hurry) // the server waits to hear it
	}
	a.catalog = max(a.catalog, reply.Catalog)
	return err == nil
}

// scanIfDue takes stock when nothing is known, after a reboot, when the package
// database has changed, when the catalog asks something new, on request, and
// after scanEvery.
func (a *Agent) scanIfDue(ctx context.Context) error {
	a.mu.Lock()
	s := a.summary
	due := s.Root == "" || a.rescan || s.BootID != a.bootID || time.Since(s.Scanned) > scanEvery || packagesChanged(a.cfg.Root, s.Scanned) || s.askedAnew(a.cfg.State)
	a.mu.Unlock()
	if !due {
		return nil
	}
	reply, err := a.steps.step(ctx, stepRequest{Step: stepScan}, nil)
	if err == nil && reply.Summary == nil {
		err = fault.New(fault.Internal, "agent: the scan gave no summary")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		if s.Root == "" {
			return err
		}
		a.scanProblem = "scan: " + fault.Public(err)
		a.log.Warn("scan failed", "error", err)
		return nil // the last one still counts
	}
	a.summary, a.rescan, a.scanProblem = *reply.Summary, false, ""
	return nil
}

func (a *Agent) renewIfDue(ctx context.Context) error {
	a.mu.Lock()
	renew := a.renewal
	a.mu.Unlock()
	if renew == nil {
		return nil
	}
	return renew(ctx, time.Now())
}

// returnSpread is over how long agents come that a server gets back, after its
// own restart or a network that was away: they may have missed a wake.
const returnSpread = 30 * time.Second

// lasting is how long a wake channel must have been open to count as a good one:
// the next is opened soon after it ends. One that a server, or a copy of this
// machine, ends at once is not.
const lasting = time.Minute

// listen holds the wake channel open.
func (a *Agent) listen(ctx context.Context) error {
	var back schedule.Backoff
	soon := later{do: func() { poke(a.hurry) }}
	defer soon.stop()
	for lost := false; ctx.Err() == nil; lost = true {
		opened, heard := time.Now(), false
		err := a.server().Wake(ctx, func(w wire.Wake) {
			heard = true
			after := time.Duration(min(max(w.After, 0), int(schedule.MaxCheckIn/time.Second))) * time.Second
			switch {
			case w.Kind == "hello" && lost:
				after = returnSpread
			case w.Kind != "check":
				return
			}
			if after == 0 {
				poke(a.hurry)
				return
			}
			soon.in(schedule.Spread(after), time.Now())
		})
		var spread time.Duration
		if heard && time.Since(opened) > lasting { // the others of the fleet may have lost theirs too
			back.Reset()
			spread = schedule.Spread(returnSpread / 3)
		}
		wait := back.Next() + spread
		a.log.Debug("wake channel ended", "error", err, "again_in", wait)
		if !pause(ctx, wait) {
			return nil
		}
	}
	return nil
}
