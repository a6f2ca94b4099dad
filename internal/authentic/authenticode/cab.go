package authenticode

import (
	"encoding/binary"
	"io"
)

// Places in a cabinet's header ([MS-CAB] 2.1). A signed cabinet reserves 20 bytes in it, which say where behind the
// cabinet the signature lies.
const (
	cabReserved = 0x0004 // flag: there is a reserve
	cabMulti    = 0x0003 // flags: it continues another cabinet, or goes on in one
	cabFixed    = 36     // header without reserve
	cabSigned   = 60     // header with the 4 bytes on sizes and the 20 reserved
)

// openCAB finds a cabinet's signature. All is hashed but two fields of the header that must be zero, its number within a
// set and where the signature lies.
func openCAB(r io.ReaderAt, size int64) (*plain, error) {
	head, err := read(r, size, 0, cabFixed)
	if err != nil {
		return nil, err
	}
	flags := binary.LittleEndian.Uint16(head[30:])
	if flags&cabReserved == 0 {
		return nil, refuse(Unsigned, "it has no signature")
	}
	if flags != cabReserved {
		return nil, refuse(Malformed, "a cabinet that is part of a set can't be checked")
	}
	if head, err = read(r, size, 0, cabSigned); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint16(head[36:]) != 20 || head[38] != 0 || head[39] != 0 {
		return nil, refuse(Unsigned, "it has no signature: its reserve is used for something else")
	}
	cabinet := int64(binary.LittleEndian.Uint32(head[8:]))
	at, n := int64(binary.LittleEndian.Uint32(head[44:])), int64(binary.LittleEndian.Uint32(head[48:]))
	switch {
	case at == 0 && n == 0:
		return nil, refuse(Unsigned, "it has no signature")
	case binary.LittleEndian.Uint32(head[4:]) != 0 || binary.LittleEndian.Uint32(head[52:]) != 0:
		return nil, refuse(Tampered, "its header holds values that no signer writes and no signature covers")
	case at < cabSigned || at != cabinet || n > maxBlob || at+n > size:
		return nil, refuse(Malformed, "its signature lies outside of it: it is cut off or damaged")
	case at+n != size:
		return nil, refuse(Tampered, "%d bytes stand behind its signature, which does not cover them", size-at-n)
	}
	blob, err := read(r, size, at, n)
	if err != nil {
		return nil, err
	}
	return &plain{r: r, ranges: [][2]int64{{0, 4}, {8, 34}, {56, at}}, signed: [][]byte{blob}}, nil
}
