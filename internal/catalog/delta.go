package catalog

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/fault"
)

// A delta is
//
//	magic                 16 bytes
//	DeltaInfo             one line of JSON
//	zstd stream           header, archive sets, changes per kind of record, archive membership
//
// Records that are equal in both shards are not named at all. A changed record
// comes as the bytes between the longest common start and end of the old and
// the new one, an added record whole, a removed one as its number.
const deltaMagic = "fettle-delta/01\n"

// MaxDelta bounds what a delta may unpack to, in bytes. A delta beyond it is
// not worth having: the publisher ships the whole shard.
const MaxDelta = 128 << 20

// maxDeltaLine bounds the JSON line.
const maxDeltaLine = 4 << 10

// DeltaInfo says between which files a delta leads.
type DeltaInfo struct {
	Platform string   `json:"platform"`
	From     DeltaEnd `json:"from"`
	To       DeltaEnd `json:"to"`
}

// DeltaEnd names a shard file.
type DeltaEnd struct {
	Version int64  `json:"version"`
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"`
}

// The operations on records.
const (
	opDelete  = 'd'
	opReplace = 'r'
	opInsert  = 'i'
)

func describe(s *Shard) (DeltaEnd, error) {
	sum, size, err := s.Hash()
	return DeltaEnd{Version: s.header.Version, SHA256: sum, Size: size}, err
}

// ReadDeltaInfo reads the start of a delta: which file it is for, and which it
// makes.
func ReadDeltaInfo(r io.Reader) (DeltaInfo, error) {
	return readDeltaInfo(bufio.NewReaderSize(r, maxDeltaLine+len(deltaMagic)))
}

func readDeltaInfo(r *bufio.Reader) (DeltaInfo, error) {
	var info DeltaInfo
	head := make([]byte, len(deltaMagic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != deltaMagic {
		return info, badDelta("it does not begin like one")
	}
	line, err := r.ReadSlice('\n')
	if err != nil || len(line) > maxDeltaLine {
		return info, badDelta("its first line is cut off")
	}
	if err := json.Unmarshal(line, &info); err != nil {
		return info, badDelta("its first line is not well-formed")
	}
	if info.To.Size < 0 || info.To.Size > MaxShard+MaxResident {
		return info, badDelta("it announces a shard of %d bytes", info.To.Size)
	}
	return info, nil
}

// unpack reads the zstd stream, bounded by MaxDelta.
func unpack(r io.Reader) ([]byte, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxDelta), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "catalog: zstd can't be set up")
	}
	defer z.Close()
	body, err := io.ReadAll(io.LimitReader(z, MaxDelta+1))
	switch {
	case err != nil:
		return nil, badDelta("it can't be unpacked")
	case len(body) > MaxDelta:
		return nil, badDelta("it unpacks to more than %d bytes", MaxDelta)
	}
	return body, nil
}

func badDelta(format string, args ...any) error {
	return fault.New(fault.Untrusted, "catalog: the delta is refused: "+format, args...).
		WithHint("nothing was changed; the whole shard can be fetched instead")
}

// puts appends length-prefixed bytes.
func puts[T ~string | ~[]byte](to []byte, b T) []byte {
	return append(binary.AppendUvarint(to, uint64(len(b))), b...)
}

// takes reads what puts and binary.AppendUvarint wrote. After the first
// mistake it gives zero values and remembers that it failed.
type takes struct {
	b      []byte
	failed bool
}

func (t *takes) number() uint64 {
	n, used := binary.Uvarint(t.b)
	if used <= 0 {
		t.b, t.failed = nil, true
		return 0
	}
	t.b = t.b[used:]
	return n
}

// within reads a number that must be below limit.
func (t *takes) within(limit int) int {
	n := t.number()
	if n >= uint64(limit) {
		t.failed = true
		return 0
	}
	return int(n)
}

// count reads how many entries follow; each takes at least one byte.
func (t *takes) count() int { return t.within(len(t.b) + 1) }

func (t *takes) bytes() []byte {
	n := t.number()
	if n > uint64(len(t.b)) {
		t.b, t.failed = nil, true
		return nil
	}
	out := t.b[:n:n]
	t.b = t.b[n:]
	return out
}

func (t *takes) byte() byte {
	if len(t.b) == 0 {
		t.failed = true
		return 0
	}
	c := t.b[0]
	t.b = t.b[1:]
	return c
}
