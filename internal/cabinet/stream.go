package cabinet

import (
	"encoding/binary"
	"io"

	"github.com/fettlehq/fettle/internal/fault"
)

// Bounds of a data block ([MS-CAB] 2.4): what it holds unpacked, and packed,
// where a block that does not shrink may grow a little.
const (
	maxPlain  = 1 << 15
	maxPacked = maxPlain + 6144
)

// Packing methods ([MS-CAB] 2.2, typeCompress).
const (
	methodMask    = 0x000F
	methodStored  = 0
	methodMSZIP   = 1
	methodQuantum = 2
	methodLZX     = 3
)

// check refuses methods that are not read.
func (d folder) check() error {
	switch m := d.method & methodMask; m {
	case methodStored, methodMSZIP:
		return nil
	case methodQuantum:
		return fault.New(fault.Unsupported, "cabinet: it is packed with Quantum, which is not read")
	case methodLZX:
		if w := d.window(); w < 15 || w > 21 {
			return damaged("an LZX window of 2^%d bytes is not possible", w)
		}
		return nil
	default:
		return fault.New(fault.Unsupported, "cabinet: the packing method %d is not known", m)
	}
}

// window is the size of LZX's window as a power of two.
func (d folder) window() uint { return uint(d.method >> 8 & 31) }

// unpacker turns packed blocks into plain ones. It returns the plain bytes of
// the next block, which stay good until the next call.
type unpacker interface {
	next(b *blocks) ([]byte, error)
}

// stream is the plain bytes of one folder.
type stream struct {
	blocks blocks
	unpack unpacker
	plain  []byte // of the block at hand, not read yet
	pos    int64
}

func newStream(in *input, d folder) (*stream, error) {
	s := &stream{blocks: blocks{in: in, left: d.blocks, reserve: make([]byte, d.reserve)}}
	switch d.method & methodMask {
	case methodStored:
		s.unpack = stored{}
	case methodMSZIP:
		s.unpack = &mszip{}
	case methodLZX:
		s.unpack = newLZX(d.window())
	default:
		return nil, d.check()
	}
	return s, nil
}

// more makes sure that there are plain bytes.
func (s *stream) more() error {
	for len(s.plain) == 0 {
		p, err := s.unpack.next(&s.blocks)
		if err != nil {
			return err
		}
		s.plain = p
	}
	return nil
}

func (s *stream) read(b []byte) (int, error) {
	if err := s.more(); err != nil {
		return 0, err
	}
	n := copy(b, s.plain)
	s.plain = s.plain[n:]
	s.pos += int64(n)
	return n, nil
}

func (s *stream) discard(n int64) error {
	for n > 0 {
		if err := s.more(); err != nil {
			return err
		}
		k := min(n, int64(len(s.plain)))
		s.plain = s.plain[k:]
		s.pos += k
		n -= k
	}
	return nil
}

// blocks are the packed data blocks of a folder.
type blocks struct {
	in      *input
	left    int
	reserve []byte
	packed  []byte
}

// next reads a block and holds it against its checksum. plain is how many
// bytes it holds unpacked. The bytes stay good until the next call. A folder
// that has no further block is damaged: its files are longer than it is.
func (b *blocks) next() (packed []byte, plain int, err error) {
	if b.left == 0 {
		return nil, 0, damaged("a folder ends before its files do")
	}
	b.left--
	var head [8]byte
	if err := b.in.full(head[:]); err != nil {
		return nil, 0, err
	}
	size, plain := int(binary.LittleEndian.Uint16(head[4:])), int(binary.LittleEndian.Uint16(head[6:]))
	switch {
	case size > maxPacked || plain > maxPlain:
		return nil, 0, damaged("a data block is too large")
	case plain == 0:
		return nil, 0, fault.New(fault.Unsupported, "cabinet: a data block goes on in another cabinet of a set")
	}
	if err := b.in.full(b.reserve); err != nil {
		return nil, 0, err
	}
	if cap(b.packed) < size {
		b.packed = make([]byte, maxPacked)
	}
	packed = b.packed[:size]
	if err := b.in.full(packed); err != nil {
		return nil, 0, err
	}
	want := binary.LittleEndian.Uint32(head[:])
	if want != 0 && want != checksum(head[4:], checksum(packed, 0)) && want != checksum(append(head[4:], b.reserve...), checksum(packed, 0)) {
		return nil, 0, damaged("a data block does not have its checksum") // gcab leaves reserved bytes out, libarchive takes them in
	}
	return packed, plain, nil
}

// checksum is that of [MS-CAB] 3.1: words of four bytes, little end first,
// joined by exclusive or; what is left over counts with its big end first.
func checksum(b []byte, seed uint32) uint32 {
	for len(b) >= 4 {
		seed ^= binary.LittleEndian.Uint32(b)
		b = b[4:]
	}
	var rest uint32
	for _, x := range b {
		rest = rest<<8 | uint32(x)
	}
	return seed ^ rest
}

// stored blocks are plain as they are.
type stored struct{}

func (stored) next(b *blocks) ([]byte, error) {
	packed, plain, err := b.next()
	if err != nil {
		return nil, err
	}
	if len(packed) != plain {
		return nil, damaged("a stored block is not as long as it says")
	}
	return packed, nil
}

var _ io.Reader = (*Reader)(nil)
