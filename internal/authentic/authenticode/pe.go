package authenticode

import (
	"crypto"
	"encoding/binary"
	"errors"
	"io"
)

// plain is a file of which everything is hashed but some places: PE and CAB.
type plain struct {
	r      io.ReaderAt
	ranges [][2]int64 // what is hashed: from, to
	signed [][]byte
}

func (p *plain) blobs() ([][]byte, error) { return p.signed, nil }

func (p *plain) digest(hash crypto.Hash) ([]byte, error) {
	h := hash.New()
	buf := make([]byte, 64<<10)
	for _, part := range p.ranges {
		n, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(p.r, part[0], part[1]-part[0]), buf)
		if err != nil || n != part[1]-part[0] {
			return nil, unreadable(errors.Join(err, io.ErrUnexpectedEOF))
		}
	}
	return h.Sum(nil), nil
}

// read reads n bytes of a file of size bytes.
func read(r io.ReaderAt, size, at, n int64) ([]byte, error) {
	if at < 0 || n < 0 || at > size-n {
		return nil, refuse(Malformed, "it is cut off or damaged")
	}
	buf := make([]byte, n)
	if got, err := r.ReadAt(buf, at); got < len(buf) {
		return nil, unreadable(err)
	}
	return buf, nil
}

// Places in a PE file ("PE Format", Microsoft): the offset of the PE header in the DOS header, and, from the optional
// header on, the checksum and the size of the fields before the data directories.
const (
	peOffsetAt    = 0x3c
	coffSize      = 24 // signature and COFF header
	checksumAt    = 64
	directories32 = 96
	directories64 = 112
	certTable     = 4 // index of the certificate table among the directories
	certHeader    = 8 // WIN_CERTIFICATE without its content
)

// openPE finds a PE file's certificate table. All of the file is hashed but the checksum, the table's entry among the
// directories and the table itself, which must be last: so nothing that belongs to the file goes unsigned. (Microsoft's
// text wants sections hashed in order and then the rest: the same bytes, as sections of a real file leave no gaps.)
func openPE(r io.ReaderAt, size int64) (*plain, error) {
	dos, err := read(r, size, 0, 64)
	if err != nil {
		return nil, err
	}
	pe := int64(binary.LittleEndian.Uint32(dos[peOffsetAt:]))
	head, err := read(r, size, pe, coffSize+2)
	if err != nil {
		return nil, err
	}
	if string(head[:4]) != "PE\x00\x00" {
		return nil, refuse(Malformed, "it is no PE file")
	}
	optional, optionalSize := pe+coffSize, int64(binary.LittleEndian.Uint16(head[20:]))
	sectionTable := int64(binary.LittleEndian.Uint16(head[6:])) * 40
	var directories int64
	switch binary.LittleEndian.Uint16(head[coffSize:]) {
	case 0x10b:
		directories = optional + directories32
	case 0x20b:
		directories = optional + directories64
	default:
		return nil, refuse(Malformed, "it is no PE file that Windows runs")
	}
	entryAt := directories + certTable*8
	raw, err := read(r, size, directories-4, 4+certTable*8+8)
	if err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(raw) <= certTable || entryAt+8 > optional+optionalSize {
		return nil, refuse(Unsigned, "it has no signature, nor room for one")
	}
	entry := raw[4+certTable*8:]
	at, n := int64(binary.LittleEndian.Uint32(entry)), int64(binary.LittleEndian.Uint32(entry[4:]))
	switch {
	case at == 0 && n == 0:
		return nil, refuse(Unsigned, "it has no signature")
	case at < optional+optionalSize+sectionTable || at%8 != 0 || n < certHeader || at+n > size:
		return nil, refuse(Malformed, "its signature lies outside of it: it is cut off or damaged")
	case at+n != size:
		return nil, refuse(Tampered, "%d bytes stand behind its signature, which does not cover them", size-at-n)
	case n > maxBlob:
		return nil, refuse(Malformed, "its signature has %d bytes", n)
	}
	p := &plain{r: r, ranges: [][2]int64{{0, optional + checksumAt}, {optional + checksumAt + 4, entryAt}, {entryAt + 8, at}}}
	p.signed, err = certificates(r, size, at, n)
	return p, err
}

// certificates takes the certificate table apart (WIN_CERTIFICATE in wintrust.h): length, revision, type, content, each
// on a multiple of 8 bytes.
func certificates(r io.ReaderAt, size, at, n int64) ([][]byte, error) {
	table, err := read(r, size, at, n)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for len(table) > 0 {
		if len(table) < certHeader || len(all) == maxSignatures {
			return nil, refuse(Malformed, "its signatures are damaged")
		}
		length := int64(binary.LittleEndian.Uint32(table))
		padded := (length + 7) &^ 7
		if length < certHeader || length > int64(len(table)) {
			return nil, refuse(Malformed, "its signatures are damaged")
		}
		if kind := binary.LittleEndian.Uint16(table[6:]); kind != 2 { // WIN_CERT_TYPE_PKCS_SIGNED_DATA
			return nil, refuse(Malformed, "it has a signature of an unknown form")
		}
		all = append(all, table[certHeader:length])
		for _, b := range table[length:min(padded, int64(len(table)))] {
			if b != 0 {
				return nil, refuse(Tampered, "bytes stand behind its signature, which does not cover them")
			}
		}
		table = table[min(padded, int64(len(table))):]
	}
	return all, nil
}
