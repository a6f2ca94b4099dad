// Package cfb reads compound files: the small file system of storages and streams inside MSI and MSP packages
// (Microsoft's [MS-CFB]).
//
// It is read before anybody knows whether the file is genuine, so nothing in the file is believed: every sector number is
// checked and every chain ends. In memory are the allocation tables, a sixty-fourth of the file, and at most 65,536 entries;
// the file is never read as a whole.
package cfb

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/fettlehq/fettle/internal/fault"
)

// Bounds and fixed values of [MS-CFB] 2.2. A version 3 file has sectors of 512 bytes, version 4 of 4096.
const (
	headerSize    = 512
	headerDIFAT   = 109
	direntSize    = 128
	miniShift     = 6
	miniSector    = 1 << miniShift
	miniCutoff    = 4096
	maxRegSector  = 0xFFFFFFFA
	endOfChain    = 0xFFFFFFFE
	maxEntries    = 1 << 16 // Windows Installer packages hold a few hundred to a few thousand
	maxDepth      = 32      // storages in storages; Windows Installer uses one level
	maxStreamSize = 1 << 40
)

// File is an opened compound file.
type File struct {
	r       io.ReaderAt
	size    int64
	shift   uint // sector size is 1 << shift
	sectors uint32
	fat     []uint32
	miniFAT []uint32
	mini    []uint32 // the sectors that hold the mini stream
	root    *Entry
}

// Open reads the tables of a compound file of size bytes. A file that is none or is damaged is fault.Invalid; one that
// can't be read is fault.Unavailable.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	head := make([]byte, headerSize)
	if size < headerSize {
		return nil, damaged("it is shorter than its header")
	}
	if err := f.readAt(head, 0); err != nil {
		return nil, err
	}
	if err := f.header(head); err != nil {
		return nil, err
	}
	if err := f.readFAT(head); err != nil {
		return nil, err
	}
	if le32(head, 64) > 0 { // without small streams the first sector may be anything
		mini, err := f.chain(le32(head, 60), int64(f.sectors))
		if err != nil {
			return nil, err
		}
		if f.miniFAT, err = f.table(mini); err != nil {
			return nil, err
		}
	}
	return f, f.readTree(le32(head, 48))
}

// IsCompound reports whether a file starts like a compound file.
func IsCompound(start []byte) bool {
	return bytes.HasPrefix(start, []byte{0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1})
}

// Root is the storage that holds all others.
func (f *File) Root() *Entry { return f.root }

// header checks the fixed part ([MS-CFB] 2.2).
func (f *File) header(head []byte) error {
	if !IsCompound(head) {
		return fault.New(fault.Invalid, "cfb: not a compound file: it starts otherwise")
	}
	version, shift := binary.LittleEndian.Uint16(head[26:]), binary.LittleEndian.Uint16(head[30:])
	if !(version == 3 && shift == 9 || version == 4 && shift == 12) {
		return damaged("its version and sector size do not go together")
	}
	if binary.LittleEndian.Uint16(head[28:]) != 0xFFFE || binary.LittleEndian.Uint16(head[32:]) != miniShift || le32(head, 56) != miniCutoff {
		return damaged("its header has values that no program writes")
	}
	f.shift = uint(shift)
	// The last sector may be cut short; the header takes the place of one sector.
	count := (f.size+f.sectorSize()-1)>>f.shift - 1
	if count < 1 || count > maxRegSector {
		return damaged("it has %d sectors", count)
	}
	f.sectors = uint32(count)
	return nil
}

func (f *File) sectorSize() int64 { return 1 << f.shift }

// readFAT collects the sectors that hold the allocation table, from the header and the chain behind it, and reads them.
func (f *File) readFAT(head []byte) error {
	perSector := uint32(f.sectorSize() / 4)
	count := le32(head, 44)
	if count > f.sectors/perSector+1 {
		return damaged("its allocation table is larger than the file")
	}
	list := make([]uint32, 0, count)
	for i := range headerDIFAT {
		if uint32(len(list)) < count {
			list = append(list, le32(head, 76+4*i))
		}
	}
	next := le32(head, 68)
	for buf := make([]byte, f.sectorSize()); uint32(len(list)) < count; next = le32(buf, len(buf)-4) {
		if err := f.readSector(next, buf); err != nil {
			return err
		}
		for i := uint32(0); i < perSector-1 && uint32(len(list)) < count; i++ {
			list = append(list, le32(buf, int(4*i)))
		}
	}
	var err error
	f.fat, err = f.table(list)
	return err
}

// table reads sectors full of sector numbers.
func (f *File) table(list []uint32) ([]uint32, error) {
	buf := make([]byte, f.sectorSize())
	t := make([]uint32, 0, len(list)*len(buf)/4)
	for _, s := range list {
		if err := f.readSector(s, buf); err != nil {
			return nil, err
		}
		for i := 0; i < len(buf); i += 4 {
			t = append(t, le32(buf, i))
		}
	}
	return t, nil
}

// chain follows the allocation table from a first sector to the end. A chain of more than limit sectors is damage: as
// limit is at most the number of sectors, circles end too.
func (f *File) chain(first uint32, limit int64) ([]uint32, error) {
	var list []uint32
	for s := first; s != endOfChain; s = f.fat[s] {
		if s >= uint32(len(f.fat)) || s >= f.sectors {
			return nil, damaged("a chain leads out of the file")
		}
		if int64(len(list)) >= limit {
			return nil, damaged("a chain is longer than it may be")
		}
		list = append(list, s)
	}
	return list, nil
}

func (f *File) readSector(s uint32, buf []byte) error {
	if s >= f.sectors {
		return damaged("sector %d lies behind the end of the file", s)
	}
	clear(buf)
	offset := (int64(s) + 1) << f.shift
	return f.readAt(buf[:min(int64(len(buf)), f.size-offset)], offset)
}

func (f *File) readAt(buf []byte, offset int64) error {
	if offset < 0 || offset > f.size-int64(len(buf)) {
		return damaged("it is cut off")
	}
	if n, err := f.r.ReadAt(buf, offset); n < len(buf) {
		return fault.Wrap(err, fault.Unavailable, "cfb: can't read the compound file")
	}
	return nil
}

func damaged(format string, args ...any) error {
	return fault.New(fault.Invalid, "cfb: the compound file is damaged: "+format, args...)
}

func le32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
