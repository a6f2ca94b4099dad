package cabinet

import (
	"encoding/binary"
	"sort"
)

// lzxMaker packs bytes with LZX, for tests: it makes every kind of block, and
// is plain where a real packer would be clever.
type lzxMaker struct {
	window uint
	kinds  []uint32 // of blocks, in turn
	size   int      // plain bytes of a block
	calls  int32    // size for the translation of calls; 0 none

	buf     uint64
	n       uint
	chunk   []byte
	chunks  [][]byte
	mainLen []byte
	lenLen  []byte
	recent  [3]int
	base    []int
}

func (m *lzxMaker) put(v uint32, n uint) {
	m.buf = m.buf<<n | uint64(v)
	m.n += n
	for m.n >= 16 {
		w := uint16(m.buf >> (m.n - 16))
		m.chunk = append(m.chunk, byte(w), byte(w>>8))
		m.n -= 16
	}
}

func (m *lzxMaker) align() {
	if m.n > 0 {
		m.put(0, 16-m.n)
	}
}

// endFrame closes the data block.
func (m *lzxMaker) endFrame() {
	m.align()
	m.chunks = append(m.chunks, m.chunk)
	m.chunk = nil
}

// token is a literal, or a match when length is not 0.
type token struct{ literal, length, distance int }

// pack returns one packed data block for each 32 KiB.
func (m *lzxMaker) pack(plain []byte) [][]byte {
	plain = append([]byte{}, plain...)
	if m.calls != 0 {
		for at := 0; at < len(plain); at += frame {
			m.toAbsolute(plain[at:min(at+frame, len(plain))], int32(at))
		}
		m.put(1, 1)
		m.put(uint32(m.calls)>>16, 16)
		m.put(uint32(m.calls)&0xFFFF, 16)
	} else {
		m.put(0, 1)
	}
	m.recent = [3]int{1, 1, 1}
	m.mainLen, m.lenLen = make([]byte, literals+8*slotsOf(m.window)), make([]byte, lengthCodes)
	m.base = newLZX(m.window).base
	for at, i := 0, 0; at < len(plain); i++ {
		n := min(m.size, len(plain)-at)
		kind := m.kinds[i%len(m.kinds)]
		m.put(kind, 3)
		m.put(uint32(n)>>8, 16)
		m.put(uint32(n)&0xFF, 8)
		if kind == blockStored {
			m.stored(plain, at, n)
		} else {
			m.tokens(kind, plain, at, n)
		}
		at += n
	}
	if len(plain)%frame != 0 {
		m.endFrame()
	}
	return m.chunks
}

func (m *lzxMaker) toAbsolute(b []byte, from int32) {
	for i := 0; i < len(b)-10; i++ {
		if b[i] != opcodeCall {
			continue
		}
		here, to := from+int32(i), int32(binary.LittleEndian.Uint32(b[i+1:]))
		switch {
		case to >= -here && to < m.calls-here:
			to += here
		case to >= m.calls-here && to < m.calls:
			to -= m.calls
		}
		binary.LittleEndian.PutUint32(b[i+1:], uint32(to))
		i += 4
	}
}

func (m *lzxMaker) stored(plain []byte, at, n int) {
	if m.n == 0 {
		m.put(0, 16)
	}
	m.align()
	for _, r := range m.recent {
		m.chunk = binary.LittleEndian.AppendUint32(m.chunk, uint32(r))
	}
	for i := range n {
		m.chunk = append(m.chunk, plain[at+i])
		if (at+i+1)%frame == 0 && i != n-1 {
			m.endFrame()
		}
	}
	if n%2 == 1 {
		m.chunk = append(m.chunk, 0)
	}
	if (at+n)%frame == 0 {
		m.endFrame()
	}
}

// find looks for matches that stay within the block and the frame.
func (m *lzxMaker) find(plain []byte, at, n int) []token {
	var out []token
	last := map[uint32]int{}
	hash := func(i int) uint32 { return uint32(plain[i]) | uint32(plain[i+1])<<8 | uint32(plain[i+2])<<16 }
	for i := max(0, at-1<<m.window); i < at && i+2 < len(plain); i++ {
		last[hash(i)] = i
	}
	for i := at; i < at+n; {
		end := min(at+n, (i/frame+1)*frame)
		length, distance := 0, 0
		if i+2 < len(plain) {
			if j, ok := last[hash(i)]; ok && i-j <= 1<<m.window-3 {
				for length < 257 && i+length < end && plain[j+length] == plain[i+length] {
					length++
				}
				distance = i - j
			}
		}
		if length < minMatch {
			length = 0
		}
		out = append(out, token{int(plain[i]), length, distance})
		for k := range max(length, 1) {
			if i+k+2 < len(plain) {
				last[hash(i+k)] = i + k
			}
		}
		i += max(length, 1)
	}
	return out
}

// symbols splits a token as the format does, keeping the recent distances.
func (m *lzxMaker) symbols(t token) (main, length, slot, extra int) {
	if t.length == 0 {
		return t.literal, -1, -1, 0
	}
	r := &m.recent
	switch t.distance {
	case r[0]:
		slot = 0
	case r[1]:
		slot = 1
		r[0], r[1] = r[1], r[0]
	case r[2]:
		slot = 2
		r[0], r[2] = r[2], r[0]
	default:
		for slot = 3; slot+1 < len(m.base) && m.base[slot+1] <= t.distance+2; {
			slot++
		}
		extra = t.distance + 2 - m.base[slot]
		r[2], r[1], r[0] = r[1], r[0], t.distance
	}
	length = -1
	head := t.length - minMatch
	if head >= longLength {
		length, head = head-longLength, longLength
	}
	return literals + slot*8 + head, length, slot, extra
}

func (m *lzxMaker) tokens(kind uint32, plain []byte, at, n int) {
	all := m.find(plain, at, n)
	begin := m.recent
	mainCount, lenCount, alignCount := make([]int, len(m.mainLen)), make([]int, lengthCodes), make([]int, alignedCodes)
	for _, t := range all {
		main, length, slot, extra := m.symbols(t)
		mainCount[main]++
		if length >= 0 {
			lenCount[length]++
		}
		if slot > 2 && footerBits(slot) >= 3 {
			alignCount[extra&7]++
		}
	}
	m.recent = begin
	for i := range alignCount { // readers ask for a full tree even where nothing uses it
		alignCount[i]++
	}
	alignLen := codeLengths(alignCount, 7)
	if kind == blockAligned {
		for _, l := range alignLen {
			m.put(uint32(l), 3)
		}
	}
	mainLen, lenLen := codeLengths(mainCount, 16), codeLengths(lenCount, 16)
	m.lengths(m.mainLen[:literals], mainLen[:literals])
	m.lengths(m.mainLen[literals:], mainLen[literals:])
	m.lengths(m.lenLen, lenLen)
	copy(m.mainLen, mainLen)
	copy(m.lenLen, lenLen)
	mainCode, lenCode, alignCode := codes(mainLen), codes(lenLen), codes(alignLen)
	pos := at
	for _, t := range all {
		main, length, slot, extra := m.symbols(t)
		m.put(mainCode[main], uint(mainLen[main]))
		if length >= 0 {
			m.put(lenCode[length], uint(lenLen[length]))
		}
		if bits := footerBits(max(slot, 0)); bits > 0 {
			if kind == blockAligned && bits >= 3 {
				m.put(uint32(extra>>3), bits-3)
				m.put(alignCode[extra&7], uint(alignLen[extra&7]))
			} else {
				m.put(uint32(extra), bits)
			}
		}
		pos += max(t.length, 1)
		if pos%frame == 0 {
			m.endFrame()
		}
	}
}

// lengths writes code lengths as differences, with the short forms for runs.
func (m *lzxMaker) lengths(before, now []byte) {
	type op struct {
		code int
		arg  uint32
		bits uint
		then int
	}
	var ops []op
	for i := 0; i < len(now); {
		run := 1
		for i+run < len(now) && now[i+run] == now[i] && run < 51 {
			run++
		}
		diff := (int(before[i]) + 17 - int(now[i])) % 17
		switch {
		case now[i] == 0 && run >= 20:
			ops = append(ops, op{18, uint32(run - 20), 5, -1})
		case now[i] == 0 && run >= 4:
			run = min(run, 19)
			ops = append(ops, op{17, uint32(run - 4), 4, -1})
		case run >= 4:
			run = min(run, 5)
			ops = append(ops, op{19, uint32(run - 4), 1, diff})
		default:
			run = 1
			ops = append(ops, op{diff, 0, 0, -1})
		}
		i += run
	}
	count := make([]int, preCodes)
	for _, o := range ops {
		count[o.code]++
		if o.then >= 0 {
			count[o.then]++
		}
	}
	lens := codeLengths(count, 15)
	code := codes(lens)
	for _, l := range lens {
		m.put(uint32(l), 4)
	}
	for _, o := range ops {
		m.put(code[o.code], uint(lens[o.code]))
		if o.bits > 0 {
			m.put(o.arg, o.bits)
		}
		if o.then >= 0 {
			m.put(code[o.then], uint(lens[o.then]))
		}
	}
}

// codeLengths makes a full Huffman code of at most most bits. One symbol alone
// gets a second one beside it, because some readers ask for a full code.
func codeLengths(count []int, most int) []byte {
	count = append([]int{}, count...)
	used := 0
	for _, c := range count {
		if c > 0 {
			used++
		}
	}
	out := make([]byte, len(count))
	if used == 0 {
		return out
	}
	for i := 0; used < 2; i++ {
		if count[i] == 0 {
			count[i] = 1
			used++
		}
	}
	for {
		type node struct{ weight, left, right, symbol int }
		var nodes []node
		var open []int
		for s, c := range count {
			if c > 0 {
				nodes = append(nodes, node{c, -1, -1, s})
				open = append(open, len(nodes)-1)
			}
		}
		for len(open) > 1 {
			sort.SliceStable(open, func(i, j int) bool { return nodes[open[i]].weight < nodes[open[j]].weight })
			nodes = append(nodes, node{nodes[open[0]].weight + nodes[open[1]].weight, open[0], open[1], -1})
			open = append(open[2:], len(nodes)-1)
		}
		deepest := 0
		var walk func(i, depth int)
		walk = func(i, depth int) {
			if nodes[i].symbol >= 0 {
				out[nodes[i].symbol] = byte(depth)
				deepest = max(deepest, depth)
				return
			}
			walk(nodes[i].left, depth+1)
			walk(nodes[i].right, depth+1)
		}
		walk(open[0], 0)
		if deepest <= most {
			return out
		}
		for s := range count { // flatter weights make shorter codes
			if count[s] > 0 {
				count[s] = count[s]/2 + 1
			}
		}
	}
}

func codes(lengths []byte) []uint32 {
	out := make([]uint32, len(lengths))
	code := uint32(0)
	for n := byte(1); n <= maxCode; n++ {
		code <<= 1
		for s, l := range lengths {
			if l == n {
				out[s] = code
				code++
			}
		}
	}
	return out
}
