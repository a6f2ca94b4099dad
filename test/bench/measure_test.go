package bench

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// used is what one run of a program took. Peak is resident memory in bytes,
// with the children that the program waited for.
type used struct {
	Code int
	Wall time.Duration
	CPU  time.Duration
	Peak int64
}

// contender is a program to measure. code is how it ends when all is well.
type contender struct {
	name string
	argv []string
	code int
	env  []string
}

// process is a program that was started by launch.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Reader
	pid   int
}

// launcher builds the small program that starts the others.
func launcher(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "launch")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./launch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build launch: %v\n%s", err, out)
	}
	return program
}

// start starts a program; its output goes to out, or nowhere.
func start(t *testing.T, launch string, c contender, out io.Writer) *process {
	t.Helper()
	path, err := exec.LookPath(c.argv[0])
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := &process{cmd: exec.Command(launch, append([]string{path}, c.argv[1:]...)...), lines: bufio.NewReader(r)}
	p.cmd.ExtraFiles = []*os.File{w}
	p.cmd.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8"), c.env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var first struct{ PID int }
	p.read(t, &first)
	p.pid = first.PID
	return p
}

func (p *process) read(t *testing.T, into any) {
	t.Helper()
	line, err := p.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, into)
	}
	if err != nil {
		t.Fatalf("%v: %v", p.cmd.Args, err)
	}
}

// wait waits for the end of the program.
func (p *process) wait(t *testing.T) used {
	t.Helper()
	var u used
	p.read(t, &u)
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return u
}

// race runs the contenders in turn, rounds times, each round in another order,
// after one round that does not count. It returns the runs by contender.
func race(t *testing.T, rounds int, all ...contender) [][]used {
	t.Helper()
	launch := launcher(t)
	runs := make([][]used, len(all))
	for round := range rounds + 1 {
		for k := range all {
			i := (k + round) % len(all)
			u := start(t, launch, all[i], nil).wait(t)
			if u.Code != all[i].code {
				t.Fatalf("%s ended with %d, not %d", all[i].name, u.Code, all[i].code)
			}
			if round > 0 {
				runs[i] = append(runs[i], u)
			}
		}
	}
	return runs
}

// median of a list that it may sort; the lower of two middle ones.
func median[T cmp.Ordered](list []T) T {
	slices.Sort(list)
	return list[(len(list)-1)/2]
}

// middle is the median run, measure by measure.
func middle(runs []used) used {
	return used{Wall: median(each(runs, wall)), CPU: median(each(runs, cpu)), Peak: median(each(runs, peak))}
}

func each[T any](runs []used, of func(used) T) []T {
	out := make([]T, 0, len(runs))
	for _, u := range runs {
		out = append(out, of(u))
	}
	return out
}

func wall(u used) time.Duration { return u.Wall }
func cpu(u used) time.Duration  { return u.CPU }
func peak(u used) int64         { return u.Peak }

// ratio is the median over rounds of a's measure to b's in the same round.
func ratio[T time.Duration | int64](a, b []used, of func(used) T) float64 {
	list := make([]float64, 0, len(a))
	for i := range a {
		list = append(list, float64(of(a[i]))/float64(max(of(b[i]), 1)))
	}
	return median(list)
}
