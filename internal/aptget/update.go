package aptget

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/run"
)

// Progress tells how far apt has come: a share of 100 and a line for people. It is called often.
type Progress func(percent float64, doing string)

// Failure is an index that could not be fetched or was refused.
type Failure struct {
	// Index is apt's description, such as "http://archive.example/debian bookworm InRelease".
	Index string
	// Reason is what apt says about it.
	Reason string
}

// Report is what an update did.
type Report struct {
	// Fetched and Unchanged count files that came anew and that the archive had not changed.
	Fetched, Unchanged int
	// Failures names what is missing or out of date. The last good version of each stays in place.
	Failures []Failure
	// Warnings and Errors are apt's own words.
	Warnings, Errors []string
	// Took is the time that apt needed.
	Took time.Duration
}

// updateTimeout ends an update that hangs, as apt's does when the disk fills up meanwhile.
const updateTimeout = time.Hour

// Update brings the private copies of the indexes up to date: "apt-get update". An error means that at least one
// source is not up to date (fault.Unavailable) or that another process works in the same folder; the Report says
// which, and what the other sources gave can be used all the same.
func (a *Apt) Update(ctx context.Context, progress Progress) (Report, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := room(a.path("state")); err != nil {
		return Report{}, err
	}
	a.giveTo(a.path("state/lists/partial"))
	w := watcher{progress: progress}
	res, err := a.patient(ctx, run.Cmd{
		Argv:   []string{"apt-get", "-q", "-o", "APT::Status-Fd=1", "update"},
		OnLine: w.line, Timeout: updateTimeout,
	}, progress)
	w.report.Took = res.Duration
	w.report.Warnings, w.report.Errors = messages(res.Stderr)
	return w.report, err
}

// watcher reads apt-get's output line by line.
type watcher struct {
	report   Report
	progress Progress
	failed   bool // the line before opened a failure whose reason follows, indented
}

func (w *watcher) line(s run.Stream, line string) {
	if s != run.Stdout {
		return
	}
	if w.failed && strings.HasPrefix(line, "  ") {
		f := &w.report.Failures[len(w.report.Failures)-1]
		f.Reason = strings.TrimSpace(f.Reason + " " + strings.TrimSpace(line))
		return
	}
	if strings.HasPrefix(line, "dlstatus:") {
		w.status(line)
		return
	}
	w.failed = false
	kind, rest, _ := strings.Cut(line, ":")
	_, what, _ := strings.Cut(rest, " ")
	switch kind {
	case "Get":
		w.report.Fetched++
	case "Hit":
		w.report.Unchanged++
	case "Err":
		w.report.Failures = append(w.report.Failures, Failure{Index: what})
		w.failed = true
	}
}

// status reads "dlstatus:<item>:<percent>:<description>", see apt's progress-reporting.md.
func (w *watcher) status(line string) {
	parts := strings.SplitN(line, ":", 4)
	if w.progress == nil || len(parts) < 4 {
		return
	}
	if p, err := strconv.ParseFloat(parts[2], 64); err == nil && p >= 0 && p <= 100 {
		w.progress(p, parts[3])
	}
}
