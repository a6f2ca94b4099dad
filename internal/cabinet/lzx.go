package cabinet

import "encoding/binary"

// Fixed values of LZX.
const (
	frame        = 1 << 15 // bytes after which the bit stream begins a word anew
	literals     = 256
	lengthCodes  = 249
	alignedCodes = 8
	preCodes     = 20
	minMatch     = 2
	longLength   = 7 // length header that says: the length tree has the rest

	blockVerbatim = 1
	blockAligned  = 2
	blockStored   = 3

	opcodeCall    = 0xE8
	maxCallFrames = 1 << 15 // frames in which calls are translated
)

// slotsOf is the number of position slots by the window's power of two, from
// 15 on.
func slotsOf(window uint) int {
	return [...]int{30, 32, 34, 36, 38, 42, 50}[window-15]
}

// footerBits is how many bits follow a position slot.
func footerBits(slot int) uint {
	switch {
	case slot < 4:
		return 0
	case slot >= 36:
		return 17
	}
	return uint(slot/2 - 1)
}

// lzx unpacks one folder. Its window holds the plain bytes before calls are
// translated back.
type lzx struct {
	bits   bits
	window []byte
	pos    int64 // plain bytes so far
	out    []byte
	begun  bool

	base    []int // first position of each slot
	recent  [3]int
	kind    uint32 // of the block at hand
	left    int    // its plain bytes that are not unpacked yet
	odd     bool   // a stored block of odd length is followed by a byte of padding
	mainLen []byte
	lenLen  [lengthCodes]byte
	main    huffman
	length  huffman
	aligned huffman
	pre     huffman

	callSize int32 // size that calls are translated for; 0: not at all
	frames   int
}

func newLZX(window uint) *lzx {
	slots := slotsOf(window)
	z := &lzx{
		window: make([]byte, 1<<window), out: make([]byte, frame), recent: [3]int{1, 1, 1},
		mainLen: make([]byte, literals+8*slots),
	}
	at := 0
	for s := range slots {
		z.base = append(z.base, at)
		at += 1 << footerBits(s)
	}
	return z
}

// next unpacks one frame: 32 KiB, or what is left of the folder.
func (z *lzx) next(from *blocks) ([]byte, error) {
	z.bits.from = from
	size, err := z.bits.frame()
	if err != nil {
		return nil, err
	}
	if !z.begun {
		z.begun = true
		if z.bits.read(1) == 1 {
			high := z.bits.read(16)
			z.callSize = int32(high<<16 | z.bits.read(16))
		}
	}
	for done := 0; done < size; {
		if z.left == 0 {
			if err := z.block(); err != nil {
				return nil, err
			}
		}
		n := min(z.left, size-done)
		if err := z.unpack(n); err != nil {
			return nil, err
		}
		done += n
		z.left -= n
	}
	z.bits.align()
	if z.bits.err != nil {
		return nil, z.bits.err
	}
	return z.plain(size), nil
}

// block reads the header of the next block.
func (z *lzx) block() error {
	if z.odd {
		z.odd = false
		z.bits.byte()
	}
	z.kind = z.bits.read(3)
	z.left = int(z.bits.read(24))
	switch z.kind {
	case blockVerbatim, blockAligned:
		if z.kind == blockAligned && !z.readAligned() {
			return damaged("an LZX block has an aligned tree that can't be")
		}
		if !z.readTrees() {
			return damaged("an LZX block has a tree that can't be")
		}
	case blockStored:
		z.odd = z.left%2 == 1
		z.bits.toBytes()
		for i := range z.recent {
			var b [4]byte
			for k := range b {
				b[k] = z.bits.byte()
			}
			z.recent[i] = int(binary.LittleEndian.Uint32(b[:]))
		}
	default:
		return damaged("an LZX block of type %d is not known", z.kind)
	}
	if z.bits.err == nil && z.left == 0 {
		return damaged("an LZX block is empty")
	}
	return z.bits.err
}

func (z *lzx) readAligned() bool {
	var lengths [alignedCodes]byte
	for i := range lengths {
		lengths[i] = byte(z.bits.read(3))
	}
	return z.aligned.build(lengths[:])
}

// readTrees reads the main tree, in two parts, and the length tree. Their
// lengths are told as differences from those of the block before.
func (z *lzx) readTrees() bool {
	return z.readLengths(z.mainLen[:literals]) && z.readLengths(z.mainLen[literals:]) && z.main.build(z.mainLen) &&
		z.readLengths(z.lenLen[:]) && z.length.build(z.lenLen[:])
}

func (z *lzx) readLengths(lengths []byte) bool {
	var pre [preCodes]byte
	for i := range pre {
		pre[i] = byte(z.bits.read(4))
	}
	if !z.pre.build(pre[:]) {
		return false
	}
	for i := 0; i < len(lengths); {
		if z.bits.err != nil {
			return false
		}
		code, n, to := z.bits.symbol(&z.pre), 1, byte(0)
		switch code {
		case 17: // a few zeros
			n = 4 + int(z.bits.read(4))
		case 18: // many zeros
			n = 20 + int(z.bits.read(5))
		case 19: // a few of the same
			n = 4 + int(z.bits.read(1))
			to = less(lengths[i], z.bits.symbol(&z.pre))
		default:
			to = less(lengths[i], code)
		}
		if n > len(lengths)-i {
			return false
		}
		for ; n > 0; n-- {
			lengths[i] = to
			i++
		}
	}
	return true
}

// less subtracts a difference from a code length, modulo 17.
func less(length byte, by int) byte { return byte((int(length) + 17 - by%17) % 17) }

// unpack appends n plain bytes of the block at hand to the window.
func (z *lzx) unpack(n int) error {
	mask := len(z.window) - 1
	if z.kind == blockStored {
		for range n {
			z.window[int(z.pos)&mask] = z.bits.byte()
			z.pos++
		}
		return z.bits.err
	}
	for n > 0 {
		s := z.bits.symbol(&z.main)
		if z.bits.err != nil {
			return z.bits.err
		}
		if s < literals {
			z.window[int(z.pos)&mask] = byte(s)
			z.pos++
			n--
			continue
		}
		length, distance := z.match(s - literals)
		switch {
		case z.bits.err != nil:
			return z.bits.err
		case length > n:
			return damaged("an LZX match runs over the end of its frame or block")
		case distance <= 0 || int64(distance) > z.pos || distance > len(z.window):
			return damaged("an LZX match reaches back beyond the beginning")
		}
		n -= length
		for range length {
			z.window[int(z.pos)&mask] = z.window[int(z.pos-int64(distance))&mask]
			z.pos++
		}
	}
	return nil
}

// match reads the rest of a match: its length, and how far back it begins.
func (z *lzx) match(s int) (length, distance int) {
	length, slot := s%8, s/8
	if length == longLength {
		length += z.bits.symbol(&z.length)
	}
	length += minMatch
	r := &z.recent
	switch slot {
	case 0:
		return length, r[0]
	case 1, 2:
		r[0], r[slot] = r[slot], r[0]
		return length, r[0]
	}
	extra := footerBits(slot)
	distance = z.base[slot] - 2
	switch {
	case z.kind == blockAligned && extra >= 3:
		distance += int(z.bits.read(extra-3)) << 3
		distance += z.bits.symbol(&z.aligned)
	default:
		distance += int(z.bits.read(extra))
	}
	r[2], r[1], r[0] = r[1], r[0], distance
	return length, distance
}

// plain copies the last n bytes out of the window and turns the absolute
// targets of call instructions, which pack better, back into relative ones.
func (z *lzx) plain(n int) []byte {
	mask := int64(len(z.window) - 1)
	from := z.pos - int64(n)
	out := z.out[:n]
	for i := 0; i < n; {
		i += copy(out[i:], z.window[(from+int64(i))&mask:])
	}
	z.frames++
	if z.callSize == 0 || z.frames > maxCallFrames || n <= 10 {
		return out
	}
	for i := 0; i < n-10; i++ {
		if out[i] != opcodeCall {
			continue
		}
		here := int32(from) + int32(i)
		to := int32(binary.LittleEndian.Uint32(out[i+1:]))
		if to >= -here && to < z.callSize {
			if to >= 0 {
				to -= here
			} else {
				to += z.callSize
			}
			binary.LittleEndian.PutUint32(out[i+1:], uint32(to))
		}
		i += 4
	}
	return out
}
