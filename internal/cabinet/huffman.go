package cabinet

// quickBits is how many bits are looked up at once; longer codes, which are
// rare, are found length by length.
const quickBits = 10

// maxCode is the longest code of LZX's trees in bits.
const maxCode = 16

// huffman decodes a canonical code: codes of the same length follow each other
// in the order of their symbols, and longer codes come after shorter ones.
type huffman struct {
	quick  [1 << quickBits]uint16 // symbol << 5 | length; 0: none, or longer
	first  [maxCode + 1]uint32    // first code of each length
	start  [maxCode + 1]int       // index of its symbol in sorted
	count  [maxCode + 1]uint32
	sorted []uint16 // symbols by length, then by number
}

// build makes the decoder of code lengths, 0 for symbols that have no code. It
// is false when there are more codes than can be. Fewer are accepted, as some
// makers write them; then a code that stands for nothing ends the decoding.
func (h *huffman) build(lengths []byte) bool {
	h.count = [maxCode + 1]uint32{}
	for _, n := range lengths {
		h.count[n]++
	}
	h.count[0] = 0
	code, total := uint32(0), 0
	for n := 1; n <= maxCode; n++ {
		code <<= 1
		h.first[n], h.start[n] = code, total
		code += h.count[n]
		total += int(h.count[n])
		if code > 1<<n {
			return false
		}
	}
	if cap(h.sorted) < total {
		h.sorted = make([]uint16, len(lengths))
	}
	h.sorted = h.sorted[:total]
	at := h.start
	clear(h.quick[:])
	for s, n := range lengths {
		if n == 0 {
			continue
		}
		i := at[n]
		at[n]++
		h.sorted[i] = uint16(s)
		if n > quickBits {
			continue
		}
		from := (h.first[n] + uint32(i-h.start[n])) << (quickBits - n)
		for k := range uint32(1) << (quickBits - n) {
			h.quick[from+k] = uint16(s)<<5 | uint16(n)
		}
	}
	return true
}

// decode finds the symbol at the front of 16 bits, and the length of its code;
// 0 when no code fits.
func (h *huffman) decode(bits uint32) (symbol int, length uint) {
	if q := h.quick[bits>>(maxCode-quickBits)]; q != 0 {
		return int(q >> 5), uint(q & 31)
	}
	for n := uint(1); n <= maxCode; n++ {
		code := bits >> (maxCode - n)
		if k := code - h.first[n]; code >= h.first[n] && k < h.count[n] {
			return int(h.sorted[h.start[n]+int(k)]), n
		}
	}
	return 0, 0
}
