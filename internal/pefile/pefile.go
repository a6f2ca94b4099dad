package pefile

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/fettlehq/fettle/internal/fault"
)

// Info is what a PE file says of itself.
type Info struct {
	// Machine is the processor in Go's terms: amd64, 386, arm64, arm, or 0x and four digits for others. A .NET program for
	// any processor says 386.
	Machine string `json:"machine"`
	// Version is the version resource, nil if the file has none.
	Version *VersionInfo `json:"version,omitempty"`
}

// Quad is a version of four numbers, most significant first.
type Quad [4]uint16

// String is the usual form, such as 10.0.19041.3636.
func (q Quad) String() string { return fmt.Sprintf("%d.%d.%d.%d", q[0], q[1], q[2], q[3]) }

// MarshalText is the same form for JSON.
func (q Quad) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// file is an opened PE file.
type file struct {
	r        io.ReaderAt
	size     int64
	headers  int64 // bytes that are mapped as they stand
	sections []section
}

// section says which addresses come from where in the file.
type section struct{ address, virtual, offset, raw int64 }

const (
	dosHeader     = 64
	coffHeader    = 24 // signature and header
	sectionHeader = 40
	maxSections   = 96 // what Windows loads
	resourceTable = 2  // index among the data directories
)

// Read reads a PE file of size bytes. A file that is none, or whose headers or version resource are damaged, is
// fault.Invalid; one that can't be read is fault.Unavailable. A file without a version resource is no error.
func Read(r io.ReaderAt, size int64) (Info, error) {
	f := &file{r: r, size: size}
	machine, resources, err := f.open()
	if err != nil {
		return Info{}, err
	}
	info := Info{Machine: machine}
	if resources == 0 {
		return info, nil
	}
	block, err := f.versionResource(resources)
	if err != nil || block == nil {
		return info, err
	}
	info.Version, err = parseVersion(block)
	return info, err
}

// open reads the headers and returns the machine and the address of the resources, 0 if there are none.
func (f *file) open() (machine string, resources int64, err error) {
	dos, err := f.read(0, dosHeader)
	if err != nil {
		return "", 0, err
	}
	if string(dos[:2]) != "MZ" {
		return "", 0, fault.New(fault.Invalid, "pefile: not a Windows program: it does not start with MZ")
	}
	pe := int64(le32(dos, 0x3c))
	head, err := f.read(pe, coffHeader)
	if err != nil {
		return "", 0, err
	}
	if string(head[:4]) != "PE\x00\x00" {
		return "", 0, fault.New(fault.Invalid, "pefile: not a Windows program but one for DOS or 16 bits")
	}
	optionalSize, count := int64(le16(head, 20)), int64(le16(head, 6))
	if count > maxSections {
		return "", 0, damaged("it has %d sections", count)
	}
	optional, err := f.read(pe+coffHeader, optionalSize)
	if err != nil {
		return "", 0, err
	}
	table, err := f.read(pe+coffHeader+optionalSize, count*sectionHeader)
	if err != nil {
		return "", 0, err
	}
	for ; len(table) > 0; table = table[sectionHeader:] {
		f.sections = append(f.sections, section{
			virtual: int64(le32(table, 8)), address: int64(le32(table, 12)), raw: int64(le32(table, 16)), offset: int64(le32(table, 20)),
		})
	}
	resources, err = f.directories(optional)
	return machineName(le16(head, 4)), resources, err
}

// directories takes what is needed out of the optional header.
func (f *file) directories(optional []byte) (resources int64, err error) {
	if len(optional) < 64 {
		return 0, damaged("its header is too short")
	}
	var at int
	switch le16(optional, 0) {
	case 0x10b: // 32 bits
		at = 96
	case 0x20b: // 64 bits
		at = 112
	default:
		return 0, damaged("its header is of an unknown form")
	}
	f.headers = int64(le32(optional, 60))
	entry := at + resourceTable*8
	if len(optional) < entry+8 || le32(optional, at-4) <= resourceTable {
		return 0, nil
	}
	return int64(le32(optional, entry)), nil
}

// load reads what is at an address when the file is loaded. What a section does not bring along are zeros there; here the
// result is shorter.
func (f *file) load(address, n int64) ([]byte, error) {
	for _, s := range f.sections {
		// Windows maps what is larger: linkers leave either of the two too small.
		if address < s.address || address >= s.address+max(s.virtual, s.raw) {
			continue
		}
		within := address - s.address
		return f.read(s.offset+within, min(n, max(0, s.raw-within)))
	}
	if address < f.headers {
		return f.read(address, min(n, f.headers-address))
	}
	return nil, damaged("address %#x lies in no section", address)
}

func (f *file) read(offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 || offset > f.size-n {
		return nil, damaged("it is cut off, or says that it is longer than it is")
	}
	buf := make([]byte, n)
	if got, err := f.r.ReadAt(buf, offset); got < len(buf) {
		return nil, fault.Wrap(err, fault.Unavailable, "pefile: can't read the program")
	}
	return buf, nil
}

func machineName(m uint16) string {
	switch m {
	case 0x8664:
		return "amd64"
	case 0x14c:
		return "386"
	case 0xaa64:
		return "arm64"
	case 0x1c0, 0x1c4:
		return "arm"
	}
	return fmt.Sprintf("0x%04x", m)
}

func damaged(format string, args ...any) error {
	return fault.New(fault.Invalid, "pefile: the program is damaged: "+format, args...)
}

func le16(b []byte, at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
func le32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
