package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// row is one line of the report.
type row struct{ what, seen, peer, ratio, goal, verdict string }

// table collects rows.
type table struct{ rows []row }

// add notes a measurement without a goal.
func (b *table) add(what, seen, peer, ratio string) {
	b.rows = append(b.rows, row{what: what, seen: seen, peer: peer, ratio: ratio})
}

// judge notes a measurement with its goal.
func (b *table) judge(what, seen, peer, ratio, goal string, meets bool) {
	verdict := "MISSES"
	if meets {
		verdict = "meets"
	}
	b.rows = append(b.rows, row{what, seen, peer, ratio, goal, verdict})
}

// compare notes contenders with their medians; the first is the peer.
func (b *table) compare(all []contender, runs [][]used) {
	for i, c := range all {
		m := middle(runs[i])
		vs := ""
		if i > 0 {
			vs = fmt.Sprintf("%.2f wall, %.3f CPU, %.2f peak", ratio(runs[i], runs[0], wall), ratio(runs[i], runs[0], cpu), ratio(runs[i], runs[0], peak))
		}
		b.add(c.name, fmt.Sprintf("%s wall, %s CPU, %s peak", ms(m.Wall), ms(m.CPU), mib(m.Peak)), "", vs)
	}
}

// String is the table as Markdown.
func (b *table) String() string {
	var s strings.Builder
	s.WriteString("| measured | median | peer | ratio | goal | |\n|---|---|---|---|---|---|\n")
	for _, r := range b.rows {
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.seen, r.peer, r.ratio, r.goal, r.verdict)
	}
	return s.String()
}

// publish prints the report and keeps it as bin/bench.md.
func (b *table) publish(t *testing.T) {
	t.Helper()
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%s, %s/%s, %d cores, load at the end %s\n\n%s", time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:3], " "), b)
	fmt.Println("\n" + text)
	if err := os.WriteFile(filepath.Join(binDir(t), "bench.md"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
func mib(n int64) string        { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
func megabytes(n int64) string  { return fmt.Sprintf("%.2f MB", float64(n)/1e6) }

// binDir is where `make build` leaves the programs.
func binDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// program is one of the built programs.
func program(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(binDir(t), name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run 'make build' first", err)
	}
	return path
}
