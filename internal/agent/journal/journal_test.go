package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/wire"
)

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func open(t testing.TB, path string) *Journal {
	t.Helper()
	j, damaged, err := Open(path)
	if err != nil || damaged {
		t.Fatalf("Open: damaged %v, %v", damaged, err)
	}
	t.Cleanup(func() { _ = j.Close() }) // closing twice is harmless here
	return j
}

// look is everything that can be seen of a journal.
type look struct {
	Entries []Entry
	Events  []wire.Event
	Reboots []time.Time
}

func lookAt(j *Journal) string {
	data, err := json.Marshal(look{j.Entries(), append([]wire.Event{}, j.Events(1<<20)...), append([]time.Time{}, j.Reboots()...)})
	if err != nil {
		panic(err)
	}
	return string(data)
}

func change(n int) Change {
	id := deploy.TaskID(fmt.Sprintf("task-%d", n%5))
	c := Change{
		Put:  []Entry{{Task: id, Attempt: n, Step: Installing, BootID: "b", Since: at(int64(n)), Result: &deploy.Result{Output: "a\nb"}}},
		Emit: []wire.Event{{Task: id, Attempt: n, State: deploy.Installing, Reason: "näht\n"}},
	}
	switch n % 4 {
	case 1:
		c.Drop = []deploy.TaskID{"task-0"}
	case 2:
		c.Reboots = []time.Time{at(int64(n))}
	case 3:
		c.Ack = int64(n) // events are numbered from the clock, which starts at n
	}
	return c
}

// TestCutAnywhere plays a crash at every byte of the file: the state is that
// before or after the record that was being written, and work goes on.
func TestCutAnywhere(t *testing.T) {
	dir := tempDir(t)
	path := filepath.Join(dir, "whole")
	j := open(t, path)
	states := []string{lookAt(j)}
	ends := []int64{0}
	for n := range 12 {
		if err := j.Apply(change(n), at(int64(n))); err != nil {
			t.Fatal(err)
		}
		states, ends = append(states, lookAt(j)), append(ends, j.size)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(data) + 1 {
		at := filepath.Join(dir, "cut")
		if err := os.WriteFile(at, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		k, damaged, err := Open(at)
		if err != nil || damaged {
			t.Fatalf("cut at %d: damaged %v, %v", cut, damaged, err)
		}
		want := 0
		for i, end := range ends {
			if int64(cut) >= end {
				want = i
			}
		}
		if diff := cmp.Diff(states[want], lookAt(k)); diff != "" {
			t.Fatalf("cut at %d:\n%s", cut, diff)
		}
		if cut%97 == 0 {
			again(t, k, at)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// again writes to a journal that was cut and reads it back.
func again(t *testing.T, j *Journal, path string) {
	t.Helper()
	if err := j.Apply(Change{Put: []Entry{{Task: "after", Attempt: 1, Since: at(99)}}}, at(99)); err != nil {
		t.Fatal(err)
	}
	if k := open(t, path); lookAt(k) != lookAt(j) {
		t.Fatalf("what was written after a cut is not read back: %s", lookAt(k))
	}
}

// TestFlippedBytes damages single bytes: never a wrong state, and damage before
// the end is told and the file kept.
func TestFlippedBytes(t *testing.T) {
	dir := tempDir(t)
	path := filepath.Join(dir, "whole")
	j := open(t, path)
	states := map[string]bool{lookAt(j): true}
	for n := range 6 {
		if err := j.Apply(change(n), at(int64(n))); err != nil {
			t.Fatal(err)
		}
		states[lookAt(j)] = true
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for i := 0; i < len(data); i += 7 {
		bad := bytes.Clone(data)
		bad[i] ^= 0x20
		at := filepath.Join(dir, "bad")
		if err := os.WriteFile(at, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		k, damaged, err := Open(at)
		if err != nil {
			t.Fatal(err)
		}
		if !states[lookAt(k)] {
			t.Fatalf("byte %d flipped gives a state that never was: %s", i, lookAt(k))
		}
		if damaged {
			told++
			if kept, err := os.ReadFile(at + ".damaged"); err != nil || !bytes.Equal(kept, bad) {
				t.Fatalf("the damaged file is not kept: %v", err)
			}
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if told == 0 {
		t.Fatal("no damage was told")
	}
}

func TestNumbers(t *testing.T) {
	path := filepath.Join(tempDir(t), "j")
	j := open(t, path)
	three := Change{Emit: make([]wire.Event, 3)}
	for _, now := range []int64{1000, 500, 5000} { // a clock that jumps back
		if err := j.Apply(three, at(now)); err != nil {
			t.Fatal(err)
		}
	}
	var got []int64
	for _, e := range j.Events(100) {
		got = append(got, e.Seq)
	}
	if diff := cmp.Diff([]int64{1000, 1001, 1002, 1003, 1004, 1005, 5000, 5001, 5002}, got); diff != "" {
		t.Fatal(diff)
	}
	if err := j.Apply(Change{Ack: 1004}, at(1)); err != nil {
		t.Fatal(err)
	}
	if left := open(t, path).Events(100); len(left) != 4 || left[0].Seq != 1005 {
		t.Fatalf("after the acknowledgement: %v", left)
	}
	// A server that acknowledges what it can't know must not move the numbers.
	if err := j.Apply(Change{Ack: 1 << 60}, at(1)); err != nil {
		t.Fatal(err)
	}
	if err := j.Apply(Change{Emit: make([]wire.Event, 1)}, at(1)); err != nil {
		t.Fatal(err)
	}
	if e := j.Events(1); len(e) != 1 || e[0].Seq != 5003 {
		t.Fatalf("numbers moved: %v", e)
	}
}

func TestReopenProperty(t *testing.T) {
	path := filepath.Join(tempDir(t), "j")
	rapid.Check(t, func(rt *rapid.T) {
		if err := os.RemoveAll(path); err != nil {
			rt.Fatal(err)
		}
		j, _, err := Open(path)
		if err != nil {
			rt.Fatal(err)
		}
		for i := range rapid.IntRange(0, 30).Draw(rt, "changes") {
			if err := j.Apply(change(rapid.IntRange(0, 50).Draw(rt, "change")), at(int64(i))); err != nil {
				rt.Fatal(err)
			}
			if rapid.IntRange(0, 9).Draw(rt, "compact") == 0 {
				j.base = 0
				forceCompact(rt, j)
			}
		}
		want := lookAt(j)
		if err := j.Close(); err != nil {
			rt.Fatal(err)
		}
		k, damaged, err := Open(path)
		if err != nil || damaged {
			rt.Fatal(damaged, err)
		}
		if got := lookAt(k); got != want {
			rt.Fatalf("got %s\nwant %s", got, want)
		}
		if err := k.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// forceCompact compacts a small journal.
func forceCompact(t *rapid.T, j *Journal) {
	size := j.size
	j.size = compactAt + 1
	if err := j.compact(); err != nil {
		t.Fatal(err)
	}
	if j.size == compactAt+1 {
		j.size = size
		t.Fatal("the journal was not compacted")
	}
}

func TestCompactsByItself(t *testing.T) {
	path := filepath.Join(tempDir(t), "j")
	j := open(t, path)
	big := Change{Put: []Entry{{Task: "one", Attempt: 1, Result: &deploy.Result{Output: string(bytes.Repeat([]byte("x"), 60<<10))}}}}
	for range 40 {
		if err := j.Apply(big, at(1)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > compactAt+100<<10 {
		t.Fatalf("the journal has %d bytes (%v)", info.Size(), err)
	}
	if got := open(t, path).Entries(); len(got) != 1 || len(got[0].Result.Output) != 60<<10 {
		t.Fatal("the entry was lost")
	}
}

func FuzzReplay(f *testing.F) {
	line, err := encode(change(3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(line, line[:20]...))
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := state{entries: map[deploy.TaskID]Entry{}}
		good, damaged := s.replay(data)
		if good > len(data) || (good == len(data) && damaged) {
			t.Fatalf("good %d of %d, damaged %v", good, len(data), damaged)
		}
	})
}

// tempDir is t.TempDir, which can't clean up under Wine (atomicfile.RemoveTree
// says why).
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fettle-journal-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := atomicfile.RemoveTree(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
