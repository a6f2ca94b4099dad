// Package journal remembers what the agent was told to do and how far it came,
// so that a kill -9, a power cut or a reboot in the middle neither loses a task
// nor runs it twice; and it keeps what the server has not acknowledged yet.
//
// The file is a list of records, one a line: the CRC-32C of the rest in hex, a
// blank, and JSON. A record is one change of state, complete or not there at
// all: each is flushed to the disk before the step that it announces begins. A
// torn last line, which a crash leaves, is cut off at the next start.
package journal

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// Step is how far a task came on this machine.
type Step string

// The steps. Each is on disk before its work begins or after it has ended, as
// the name says.
const (
	Accepted    Step = "accepted" // an order is known, nothing was begun
	Planning    Step = "planning"
	Planned     Step = "planned"
	Downloading Step = "downloading"
	Staged      Step = "staged"
	Installing  Step = "installing" // from here on the machine may be changed
	Installed   Step = "installed"  // the result is known
	Rebooting   Step = "rebooting"
	Verifying   Step = "verifying"
	Ended       Step = "ended"
)

// Entry is one task on this machine.
type Entry struct {
	Task    deploy.TaskID `json:"task"`
	Attempt int           `json:"attempt"`
	// Order is the order that is being worked on, or was last.
	Order wire.Order `json:"order"`
	Step  Step       `json:"step"`
	// BootID is the boot in which the step was begun.
	BootID string    `json:"boot_id,omitempty"`
	Since  time.Time `json:"since"`
	// Resumed counts how often an installation that was cut off before it
	// changed anything was begun again.
	Resumed int `json:"resumed,omitempty"`
	// Result of the attempt so far.
	Result *deploy.Result `json:"result,omitempty"`
	// Done holds the event that ended each action of this attempt, to answer
	// an order that comes again.
	Done map[wire.Action]wire.Event `json:"done,omitempty"`
}

// Open reports whether an order of the entry is still to be worked on.
func (e Entry) Open() bool {
	switch e.Step {
	case Accepted, Planning, Downloading, Installing, Rebooting, Verifying:
		return true
	}
	return false
}

// Change is what one record does. The zero Change does nothing.
type Change struct {
	Put  []Entry         `json:"put,omitempty"`
	Drop []deploy.TaskID `json:"drop,omitempty"`
	// Emit are events; Apply numbers them.
	Emit []wire.Event `json:"emit,omitempty"`
	// Ack forgets every event up to and including this number.
	Ack int64 `json:"ack,omitempty"`
	// Reboots are times at which this agent restarted the machine.
	Reboots []time.Time `json:"reboots,omitempty"`
	// Seq is the last number given out; only compaction writes it.
	Seq int64 `json:"seq,omitempty"`
}

// state is the sum of all records.
type state struct {
	entries map[deploy.TaskID]Entry
	events  []wire.Event // not acknowledged, by Seq
	seq     int64
	reboots []time.Time
}

// maxReboots is how many reboots are remembered; the cap looks at one day.
const maxReboots = 32

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	mu    sync.Mutex
	path  string
	file  *os.File
	size  int64
	base  int64 // size after the last compaction
	state state
	bad   bool // a write failed half way: the file must be cut before the next
}

// Open reads the journal at path and makes it when there is none. What a crash
// tore off the end is dropped. damaged reports that a record before the end
// did not match its checksum: the records up to it count, and the old file was
// put aside as path + ".damaged". Errors: fault.Unavailable, fault.Exhausted.
func Open(path string) (j *Journal, damaged bool, err error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fault.Wrap(err, fault.Unavailable, "journal: can't read %s", path)
	}
	j = &Journal{path: path, state: state{entries: map[deploy.TaskID]Entry{}}}
	good, damaged := j.state.replay(data)
	if damaged {
		if err := atomicfile.Write(path+".damaged", data, 0o600); err != nil {
			return nil, true, err
		}
	}
	if j.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, damaged, fault.Wrap(err, fault.Unavailable, "journal: can't open %s", path)
	}
	j.size, j.base = int64(good), int64(good)
	if err := j.cut(); err != nil {
		return nil, damaged, errors.Join(err, j.file.Close())
	}
	return j, damaged, atomicfile.SyncDir(filepath.Dir(path))
}

// Read returns what stands in a journal that another process may be writing:
// the tasks, oldest first, and the events that are not acknowledged. A journal
// that does not exist is empty.
func Read(path string) ([]Entry, []wire.Event, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fault.Wrap(err, fault.Unavailable, "journal: can't read %s", path)
	}
	j := &Journal{state: state{entries: map[deploy.TaskID]Entry{}}}
	j.state.replay(data)
	return j.Entries(), j.state.events, nil
}

// Close closes the file; everything is on the disk already.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}

// Apply makes a change durable, then visible. Events in it are numbered: each
// number is above all before and not below now in milliseconds, so that a
// machine set back to an older snapshot does not use numbers again. After an
// error nothing has changed. Errors: fault.Exhausted when the disk is full,
// fault.Unavailable otherwise.
func (j *Journal) Apply(c Change, now time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	c.Emit = slices.Clone(c.Emit)
	seq := j.state.seq
	for i := range c.Emit {
		seq = max(seq+1, now.UnixMilli())
		c.Emit[i].Seq = seq
	}
	line, err := encode(c)
	if err != nil {
		return err
	}
	if err := j.append(line); err != nil {
		return err
	}
	j.state.apply(c)
	return j.compact()
}

// Entries returns all tasks, oldest first.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.SortedFunc(maps.Values(j.state.entries), func(a, b Entry) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Task, b.Task))
	})
}

// Entry returns one task.
func (j *Journal) Entry(id deploy.TaskID) (Entry, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.state.entries[id]
	return e, ok
}

// Events returns the first events that are not acknowledged, at most limit.
func (j *Journal) Events(limit int) []wire.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.state.events[:min(limit, len(j.state.events))])
}

// Reboots returns when this agent restarted the machine, oldest first.
func (j *Journal) Reboots() []time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.state.reboots)
}

// append writes a line and flushes it. A write that failed half way is cut
// off before the next one.
func (j *Journal) append(line []byte) error {
	if j.bad {
		if err := j.cut(); err != nil {
			return err
		}
	}
	_, err := j.file.WriteAt(line, j.size)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.bad = true
		return j.wrap(err)
	}
	j.size += int64(len(line))
	return nil
}

func (j *Journal) cut() error {
	if err := j.file.Truncate(j.size); err != nil {
		return j.wrap(err)
	}
	if err := j.file.Sync(); err != nil {
		return j.wrap(err)
	}
	j.bad = false
	return nil
}

// Compaction starts when the file has grown to this many bytes and to this
// multiple of what the last one left.
const (
	compactAt     = 1 << 20
	compactFactor = 4
)

// compact rewrites the file as one record when most of it is history.
func (j *Journal) compact() error {
	if j.size < compactAt || j.size < compactFactor*j.base {
		return nil
	}
	line, err := encode(j.state.whole())
	if err != nil {
		return err
	}
	w, err := atomicfile.Create(j.path, 0o600)
	if err != nil {
		return nil // the change is durable in the old file; the next one tries again
	}
	defer w.Abort()
	if _, err := w.Write(line); err != nil {
		return nil // as above
	}
	// Windows replaces no file that is open.
	if err := j.file.Close(); err != nil {
		return j.wrap(err)
	}
	committed := w.Commit()
	if j.file, err = os.OpenFile(j.path, os.O_RDWR, 0o600); err != nil {
		return j.wrap(err)
	}
	if committed == nil {
		j.size, j.base, j.bad = int64(len(line)), int64(len(line)), false
	}
	return nil // where it did not come about, the old file stands and counts
}

func (j *Journal) wrap(err error) error {
	if atomicfile.IsFull(err) {
		return fault.Wrap(err, fault.Exhausted, "journal: no space left to write %s", j.path).
			WithHint("free space on that disk; the agent begins no step that it can't record")
	}
	return fault.Wrap(err, fault.Unavailable, "journal: can't write %s", j.path)
}
