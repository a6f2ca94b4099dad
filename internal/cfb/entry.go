package cfb

import (
	"encoding/binary"
	"io"
	"unicode/utf16"

	"github.com/fettlehq/fettle/internal/fault"
)

// Kind says what an entry is, with the numbers of [MS-CFB] 2.6.1.
type Kind byte

// The kinds that occur in a tree.
const (
	Storage Kind = 1
	Stream  Kind = 2
	Root    Kind = 5
)

// Entry is one storage or stream. The raw fields are those that Windows Installer signatures cover.
type Entry struct {
	Kind Kind
	// RawName is the name in UTF-16, little endian, without the zero at the end: at most 62 bytes.
	RawName []byte
	// ClassID, State, Created and Modified are as they stand in the file; the times are Windows FILETIMEs.
	ClassID  [16]byte
	State    [4]byte
	Created  [8]byte
	Modified [8]byte
	// Size is the number of bytes of a stream.
	Size int64
	// Children are a storage's entries, in no particular order.
	Children []*Entry

	first uint32
}

// Name is the name as text. Windows Installer packs table names two letters to a character; they look Chinese here.
func (e *Entry) Name() string {
	u := make([]uint16, len(e.RawName)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(e.RawName[2*i:])
	}
	return string(utf16.Decode(u))
}

// Child finds an entry of this storage by its exact name: nil if there is none.
func (e *Entry) Child(name string) *Entry {
	for _, c := range e.Children {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

// dirent is a parsed directory entry with the numbers of its neighbours.
type dirent struct {
	entry              Entry
	left, right, child uint32
	taken              bool
}

// readTree reads the directory and hangs every entry into its storage. What the tree does not reach does not exist.
func (f *File) readTree(first uint32) error {
	list, err := f.chain(first, min(int64(f.sectors), maxEntries*direntSize>>f.shift))
	if err != nil {
		return err
	}
	all := make([]dirent, 0, len(list)<<f.shift/direntSize)
	buf := make([]byte, f.sectorSize())
	for _, s := range list {
		if err := f.readSector(s, buf); err != nil {
			return err
		}
		for raw := buf; len(raw) >= direntSize; raw = raw[direntSize:] {
			d, err := f.parseDirent(raw[:direntSize])
			if err != nil {
				return err
			}
			all = append(all, d)
		}
	}
	if len(all) == 0 || all[0].entry.Kind != Root {
		return damaged("its first entry is not the root")
	}
	all[0].taken = true
	f.root = &all[0].entry
	if len(f.miniFAT) > 0 {
		if f.mini, err = f.chain(f.root.first, int64(f.sectors)); err != nil {
			return err
		}
	}
	total := int64(0)
	return f.hang(all, f.root, all[0].child, 0, &total)
}

func (f *File) parseDirent(raw []byte) (dirent, error) {
	d := dirent{
		left: le32(raw, 68), right: le32(raw, 72), child: le32(raw, 76),
		entry: Entry{
			Kind: Kind(raw[66]), ClassID: [16]byte(raw[80:96]), State: [4]byte(raw[96:100]),
			Created: [8]byte(raw[100:108]), Modified: [8]byte(raw[108:116]), first: le32(raw, 116),
		},
	}
	size := binary.LittleEndian.Uint64(raw[120:])
	if f.shift == 9 {
		size &= 0xFFFFFFFF // [MS-CFB] 2.6.3: version 3 files may have rubbish in the upper half
	}
	if d.entry.Kind != Storage && d.entry.Kind != Stream && d.entry.Kind != Root {
		return dirent{}, nil // free
	}
	length := int(binary.LittleEndian.Uint16(raw[64:]))
	if length < 2 || length > 64 || length%2 != 0 {
		return dirent{}, damaged("a name is %d bytes long", length)
	}
	d.entry.RawName = append([]byte(nil), raw[:length-2]...)
	if d.entry.Kind == Stream {
		if size > maxStreamSize {
			return dirent{}, damaged("a stream is larger than any file")
		}
		d.entry.Size = int64(size)
	}
	return d, nil
}

// hang walks one storage's tree of siblings without recursion and goes down into storages.
func (f *File) hang(all []dirent, parent *Entry, top uint32, depth int, total *int64) error {
	if depth > maxDepth {
		return damaged("storages lie too deep in each other")
	}
	const none = 0xFFFFFFFF
	for stack := []uint32{top}; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if n == none {
			continue
		}
		if n >= uint32(len(all)) || all[n].taken || all[n].entry.Kind != Storage && all[n].entry.Kind != Stream {
			return damaged("its directory is no tree")
		}
		d := &all[n]
		d.taken = true
		parent.Children = append(parent.Children, &d.entry)
		// Streams don't share sectors, so together they are not larger than the file: reading them all is bounded.
		if *total += d.entry.Size; *total > f.size {
			return damaged("its streams are larger than the file")
		}
		if d.entry.Kind == Storage {
			if err := f.hang(all, &d.entry, d.child, depth+1, total); err != nil {
				return err
			}
		}
		stack = append(stack, d.left, d.right)
	}
	return nil
}

// Copy writes a stream's bytes to w. Damage is fault.Invalid, a file that can't be read fault.Unavailable; errors of w
// come back as they are.
func (f *File) Copy(w io.Writer, e *Entry) error {
	if e.Kind != Stream {
		return damaged("a storage is read as a stream")
	}
	if e.Size == 0 {
		return nil
	}
	shift, table, sectors := f.shift, f.fat, f.sectors
	if e.Size < miniCutoff {
		shift, table, sectors = miniShift, f.miniFAT, uint32(min(int64(len(f.mini))<<(f.shift-miniShift), maxRegSector))
	}
	buf := make([]byte, min(e.Size, 64<<10))
	left := e.Size
	for s := e.first; left > 0; {
		run := int64(0) // bytes that lie behind each other in the file: read at once
		start, next := s, s
		for next == s && run < left && run+1<<shift <= 64<<10 && (run == 0 || shift == f.shift) {
			if s >= uint32(len(table)) || s >= sectors {
				return damaged("a stream leads out of the file")
			}
			run += 1 << shift
			next, s = s+1, table[s]
		}
		n := min(left, run)
		if err := f.readAt(buf[:n], f.offset(start, shift)); err != nil {
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// offset is where a sector, or a small sector of the mini stream, lies in the file.
func (f *File) offset(s uint32, shift uint) int64 {
	if shift == f.shift {
		return (int64(s) + 1) << f.shift
	}
	at := int64(s) << miniShift
	return (int64(f.mini[at>>f.shift])+1)<<f.shift + at&(f.sectorSize()-1)
}

// Read returns a stream of at most limit bytes. A larger one is fault.Exhausted.
func (f *File) Read(e *Entry, limit int64) ([]byte, error) {
	if e.Size > limit {
		return nil, fault.New(fault.Exhausted, "cfb: a stream has %d bytes, more than the %d that are read", e.Size, limit)
	}
	b := make(sliceWriter, 0, e.Size)
	if err := f.Copy(&b, e); err != nil {
		return nil, err
	}
	return b, nil
}

type sliceWriter []byte

func (s *sliceWriter) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}
