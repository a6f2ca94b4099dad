package cabinet

import "slices"

// bits reads LZX's bit stream: words of 16 bits, little end first, each read
// from its highest bit. The data blocks of a folder are one stream of bytes.
type bits struct {
	from   *blocks
	packed []byte
	buf    uint64 // the lowest n bits are not read yet
	n      uint
	past   int // bytes made up behind the end
	err    error

	sizes []int // plain sizes of the blocks that are read, of frames to come
}

// maxPast is how many bytes may be made up behind the last block: decoding
// looks at 16 bits although a code may be shorter.
const maxPast = 4

// byte takes the next byte of the stream.
func (b *bits) byte() byte {
	if len(b.packed) == 0 && !b.refill() {
		return 0
	}
	x := b.packed[0]
	b.packed = b.packed[1:]
	return x
}

// refill goes on to the next block.
func (b *bits) refill() bool {
	for len(b.packed) == 0 {
		if b.err != nil {
			return false
		}
		if b.from.left == 0 {
			if b.past++; b.past > maxPast {
				b.err = damaged("an LZX stream ends too early")
			}
			return false
		}
		b.load()
	}
	return true
}

// load appends the next block to what is left of the one at hand.
func (b *bits) load() {
	rest := slices.Clone(b.packed)
	packed, plain, err := b.from.next()
	if err != nil {
		b.err = err
		return
	}
	b.packed = packed
	if len(rest) > 0 {
		b.packed = append(rest, packed...)
	}
	b.sizes = append(b.sizes, plain)
}

// frame is the plain size of the next frame: its block is read if it is not
// yet.
func (b *bits) frame() (int, error) {
	if len(b.sizes) == 0 {
		if b.load(); b.err != nil {
			return 0, b.err
		}
	}
	size := b.sizes[0]
	b.sizes = b.sizes[1:]
	if size < frame && (b.from.left > 0 || len(b.sizes) > 0) {
		return 0, damaged("an LZX block that is not the last is shorter than a frame")
	}
	return size, nil
}

// need makes sure that n bits, at most 32, can be read.
func (b *bits) need(n uint) {
	for b.n < n {
		low := uint64(b.byte())
		b.buf = b.buf<<16 | uint64(b.byte())<<8 | low
		b.n += 16
	}
}

// read takes n bits, at most 32.
func (b *bits) read(n uint) uint32 {
	b.need(n)
	b.n -= n
	return uint32(b.buf >> b.n & (1<<n - 1))
}

// symbol decodes one symbol.
func (b *bits) symbol(h *huffman) int {
	b.need(maxCode)
	s, n := h.decode(uint32(b.buf >> (b.n - maxCode) & (1<<maxCode - 1)))
	if n == 0 {
		if b.err == nil {
			b.err = damaged("an LZX stream has a code that stands for nothing")
		}
		return 0
	}
	b.n -= n
	return s
}

// align drops what is left of the word at hand.
func (b *bits) align() { b.n -= b.n % 16 }

// toBytes goes over to whole bytes: at least one bit and up to a word is
// dropped.
func (b *bits) toBytes() {
	if b.n == 0 {
		b.need(16)
	}
	b.n, b.buf = 0, 0
}
