package winreg

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/bits"
	"slices"
)

// Log is a transaction log of a hive: the file of its name with .LOG1 or .LOG2 behind it. Windows writes what it changes
// there first, and into the hive itself up to an hour later, or never when the machine lost its power.
type Log interface {
	io.ReaderAt
	Size() int64 // in bytes
}

const (
	sector      = 512
	maxLog      = 64 << 20 // bytes of one log; those of users have a few millions
	entryHead   = 40
	reference   = 8
	logOfVista  = 1 // file types of a base block: a log with a bitmap
	logOfNT     = 2
	logOfBlue   = 6                  // a log of entries, since Windows 8.1
	marvinSeed  = 0x82EF4D887A4E55C5 // as one number: the specification's bytes are its digits
	maxClusters = 8                  // sectors of 4,096 bytes
)

// page is where the newest bytes of a sector of the hive stand.
type page struct {
	at  uint32 // in bytes
	log uint8
}

// logFile is a log whose base block is sound.
type logFile struct {
	Log
	index uint8
	base  []byte
	seq   uint32 // of its first entry
	stamp uint64 // when the hive was written last
}

// sound reports whether a base block is whole: by its mark, its version, and the sum of its first 508 bytes.
func sound(head []byte) bool {
	var sum uint32
	for at := 0; at < 508; at += 4 {
		sum ^= le32(head, at)
	}
	switch sum { // two sums stand for something else
	case 0xffffffff:
		sum = 0xfffffffe
	case 0:
		sum = 1
	}
	return string(head[:4]) == "regf" && le32(head, 20) == 1 && le32(head, 508) == sum
}

// recover finds what the logs know better than the file, and keeps where it stands: nothing is copied and nothing written.
// It returns the base block that counts then, and whether the hive is whole with it.
//
// The rules are those of "Windows registry file format specification", sections "New format" and "Old format" of the
// transaction log files. Hives of the older form take the newest log that is not older than they are: each is cumulative.
func (h *Hive) recover(head []byte, files []Log) (base []byte, whole bool) {
	stamp, intact := le64(head, 12), sound(head)
	if first := make([]byte, 28); !intact && h.at(first, baseBlock) {
		stamp = le64(first, 20)
	}
	var entries, maps []logFile
	for i, f := range files {
		l, kind, ok := readLog(f, uint8(i))
		switch {
		case !ok:
		case kind == logOfBlue && (!intact || l.seq >= le32(head, 8)):
			entries = append(entries, l)
		case kind != logOfBlue && l.stamp >= stamp:
			maps = append(maps, l)
		}
	}
	h.logs = files
	switch {
	case len(entries) > 0 && intact:
		return head, h.replay(entries)
	case len(entries) > 0: // the hive's own block is damaged: it is that of the newest log
		last := slices.MaxFunc(entries, func(a, b logFile) int { return int(int64(a.seq) - int64(b.seq)) })
		return last.base, h.replay([]logFile{last})
	case len(maps) > 0:
		newest := maps[0]
		for _, l := range maps[1:] {
			if l.stamp > newest.stamp {
				newest = l
			}
		}
		if h.patch(newest) {
			return newest.base, true
		}
	}
	return head, false
}

// readLog reads the base block of a log; false for a file that is none, or that was being written.
func readLog(f Log, index uint8) (l logFile, kind uint32, ok bool) {
	base := make([]byte, sector)
	if n := f.Size(); n < 2*sector || n > maxLog || !readAt(f, base, 0) || !sound(base) || le32(base, 4) != le32(base, 8) {
		return l, 0, false
	}
	kind = le32(base, 28)
	l = logFile{Log: f, index: index, base: base, seq: le32(base, 4), stamp: le64(base, 12)}
	return l, kind, kind == logOfVista || kind == logOfNT || kind == logOfBlue
}

// replay applies logs of entries, those that begin earlier first. It is false when there is nothing to apply, or when
// one log does not begin where the other ends.
func (h *Hive) replay(logs []logFile) bool {
	slices.SortFunc(logs, func(a, b logFile) int { return int(int64(a.seq) - int64(b.seq)) })
	next := logs[0].seq
	for _, l := range logs {
		if l.seq != next {
			return false
		}
		for at := int64(sector); ; {
			size, ok := h.entry(l, at, next)
			if !ok {
				break // what follows is older, or was being written when the machine stopped
			}
			at += size
			next++
		}
	}
	return next != logs[0].seq
}

// entry applies one entry of a log if it is the wanted one and whole, and returns its size in bytes.
//
//	0  "HvLE", 4 size, 8 flags, 12 sequence number, 16 size of the hive's bins, 20 number of pages,
//	24 Marvin32 of what follows the head, 32 Marvin32 of the head to here, 40 place and size of each page, the pages
func (h *Hive) entry(l logFile, at int64, want uint32) (int64, bool) {
	head := make([]byte, entryHead)
	if !readAt(l, head, at) || string(head[:4]) != "HvLE" || le32(head, 12) != want {
		return 0, false
	}
	size, bins, count := int64(le32(head, 4)), int64(le32(head, 16)), int64(le32(head, 20))
	switch {
	case size < sector || size%sector != 0 || size > l.Size()-at || bins%baseBlock != 0:
		return 0, false
	case count > (size-entryHead)/(reference+sector): // each page has a sector at least
		return 0, false
	}
	sum := newMarvin(marvinSeed)
	if sum.add(head[:32]); sum.value() != le64(head, 32) {
		return 0, false
	}
	if got, ok := hashed(l, at+entryHead, size-entryHead); !ok || got != le64(head, 24) {
		return 0, false
	}
	refs := make([]byte, reference*count)
	if !readAt(l, refs, at+entryHead) || !fits(refs, size-entryHead, bins) {
		return 0, false
	}
	from := at + entryHead + reference*count
	for ; len(refs) > 0; refs = refs[reference:] {
		place, n := int64(le32(refs, 0)), int64(le32(refs, 4))
		h.cover(l, place, from, n)
		from += n
	}
	h.grow(bins)
	return size, true
}

// fits checks the references of an entry: whole sectors within the hive that stand within the entry.
func fits(refs []byte, room, bins int64) bool {
	room -= int64(len(refs))
	for ; len(refs) > 0; refs = refs[reference:] {
		place, n := int64(le32(refs, 0)), int64(le32(refs, 4))
		if room -= n; n == 0 || place%sector != 0 || n%sector != 0 || place+n > bins || room < 0 {
			return false
		}
	}
	return true
}

// hashed is the Marvin32 of a part of a log.
func hashed(l Log, at, n int64) (uint64, bool) {
	sum, buf := newMarvin(marvinSeed), make([]byte, min(n, 64<<10))
	for n > 0 {
		part := buf[:min(n, int64(len(buf)))]
		if !readAt(l, part, at) {
			return 0, false
		}
		sum.add(part)
		at, n = at+int64(len(part)), n-int64(len(part))
	}
	return sum.value(), true
}

// patch applies a log of the older form: a bitmap of the hive's sectors, and those that it marks.
func (h *Hive) patch(l logFile) bool {
	width := max(1, int64(le32(l.base, 44))) * sector
	bins := int64(le32(l.base, 40))
	marks := make([]byte, min(4+(bins/sector+7)/8, max(0, l.Size()-width)))
	if width > maxClusters*sector || bins%baseBlock != 0 || int64(len(marks)) < 4+bins/sector/8 || !readAt(l, marks, width) {
		return false
	}
	vector, ok := bytes.CutPrefix(marks, []byte("DIRT"))
	from := (width + int64(len(marks)) + width - 1) / width * width
	ones := 0
	for _, b := range vector {
		ones += bits.OnesCount8(b)
	}
	if !ok || from+int64(ones)*sector > l.Size() {
		return false
	}
	for i := range len(vector) * 8 {
		if vector[i/8]>>(i%8)&1 == 1 {
			h.cover(l, int64(i)*sector, from, sector)
			from += sector
		}
	}
	h.grow(bins)
	return true
}

// cover enters that n bytes at a place of the hive's bins stand at an offset of a log.
func (h *Hive) cover(l logFile, place, from, n int64) {
	if h.pages == nil {
		h.pages = map[uint32]page{}
	}
	for end := from + n; from < end; from += sector {
		h.pages[uint32((baseBlock+place)/sector)] = page{at: uint32(from), log: l.index}
		place += sector
	}
}

// grow makes room for what the logs have beyond the file's end.
func (h *Hive) grow(bins int64) { h.size = max(h.size, baseBlock+bins) }

// at fills buf with the hive's bytes at an offset, from the logs where they know better. A part that is nowhere is false.
func (h *Hive) at(buf []byte, offset int64) bool {
	if h.pages == nil {
		return readAt(h.r, buf, offset)
	}
	for len(buf) > 0 {
		n := min(int64(len(buf)), sector-offset%sector)
		p, newer := h.pages[uint32(offset/sector)]
		for !newer && n < int64(len(buf)) { // as much of the file as comes in one piece
			if _, ends := h.pages[uint32((offset+n)/sector)]; ends {
				break
			}
			n = min(int64(len(buf)), n+sector)
		}
		from, where := h.r, offset
		if newer {
			from, where = io.ReaderAt(h.logs[p.log]), int64(p.at)+offset%sector
		}
		if !readAt(from, buf[:n], where) {
			return false
		}
		buf, offset = buf[n:], offset+n
	}
	return true
}

func readAt(r io.ReaderAt, buf []byte, at int64) bool {
	n, _ := r.ReadAt(buf, at) // what is short is told by its length
	return n == len(buf)
}

func le64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

// marvin is Marvin32, the keyed checksum with which Windows seals entries of logs, of lengths that four divides: other
// lengths do not occur there.
type marvin struct{ lo, hi uint32 }

func newMarvin(seed uint64) *marvin { return &marvin{lo: uint32(seed), hi: uint32(seed >> 32)} }

func (m *marvin) add(b []byte) {
	for ; len(b) >= 4; b = b[4:] {
		m.lo += le32(b, 0)
		m.mix()
	}
}

func (m *marvin) mix() {
	m.hi ^= m.lo
	m.lo = bits.RotateLeft32(m.lo, 20) + m.hi
	m.hi = bits.RotateLeft32(m.hi, 9) ^ m.lo
	m.lo = bits.RotateLeft32(m.lo, 27) + m.hi
	m.hi = bits.RotateLeft32(m.hi, 19)
}

// value ends the sum.
func (m *marvin) value() uint64 {
	m.lo += 0x80
	m.mix()
	m.mix()
	return uint64(m.hi)<<32 | uint64(m.lo)
}
