package cabinet

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fettlehq/fettle/internal/fault"
)

// File is one file of a cabinet.
type File struct {
	// Name is the path with slashes. It is as the cabinet has it, so it may
	// hold "..": nobody may write to such a path without os.Root.
	Name string
	Size int64 // bytes
	// Modified is in the maker's local time, which the format does not name;
	// it is given as UTC. Zero where the field is no date.
	Modified time.Time

	folder int
	offset int64 // of the first byte in its folder
}

// Flags of CFHEADER and fixed values of [MS-CAB] 2.1 to 2.3.
const (
	flagPrev    = 1
	flagNext    = 2
	flagReserve = 4

	headerSize = 36
	folderSize = 8
	fileSize   = 16
	maxName    = 255 // bytes of a file name without its zero

	attrUTF8 = 0x80
	inSet    = 0xFFFD // iFolder of a file that other cabinets of a set share
)

// folder is a run of data blocks that are packed together.
type folder struct {
	start   int64 // offset of its first block
	blocks  int
	method  uint16
	reserve int // bytes of the maker's own in front of each block's data
}

// header are the fields of CFHEADER that count.
type header struct {
	files, folders              int
	fileTable                   int64
	reserveFolder, reserveBlock int
}

// tables reads the header, the folders and the files.
func (c *Reader) tables() error {
	h, err := c.header()
	if err != nil {
		return err
	}
	entry := make([]byte, folderSize+h.reserveFolder)
	for range h.folders {
		if err := c.in.full(entry); err != nil {
			return err
		}
		d := folder{
			start: int64(binary.LittleEndian.Uint32(entry)), blocks: int(binary.LittleEndian.Uint16(entry[4:])),
			method: binary.LittleEndian.Uint16(entry[6:]), reserve: h.reserveBlock,
		}
		if err := d.check(); err != nil {
			return err
		}
		c.folders = append(c.folders, d)
	}
	if err := c.in.skipTo(h.fileTable); err != nil {
		return err
	}
	for range h.files {
		f, err := c.file()
		if err != nil {
			return err
		}
		c.files = append(c.files, f)
	}
	return nil
}

func (c *Reader) header() (header, error) {
	var b [headerSize]byte
	if err := c.in.full(b[:]); err != nil {
		return header{}, err
	}
	if string(b[:4]) != "MSCF" {
		return header{}, damaged("it is no cabinet file")
	}
	if b[25] != 1 {
		return header{}, fault.New(fault.Unsupported, "cabinet: version %d.%d of the format is not known", b[25], b[24])
	}
	h := header{
		fileTable: int64(binary.LittleEndian.Uint32(b[16:])),
		folders:   int(binary.LittleEndian.Uint16(b[26:])), files: int(binary.LittleEndian.Uint16(b[28:])),
	}
	flags := binary.LittleEndian.Uint16(b[30:])
	if flags&(flagPrev|flagNext) != 0 {
		return header{}, fault.New(fault.Unsupported, "cabinet: it is one of a set of cabinets, and only whole ones are read")
	}
	if flags&flagReserve == 0 {
		return h, nil
	}
	var sizes [4]byte
	if err := c.in.full(sizes[:]); err != nil {
		return header{}, err
	}
	h.reserveFolder, h.reserveBlock = int(sizes[2]), int(sizes[3])
	return h, c.in.skipTo(c.in.pos + int64(binary.LittleEndian.Uint16(sizes[:])))
}

func (c *Reader) file() (File, error) {
	var b [fileSize]byte
	if err := c.in.full(b[:]); err != nil {
		return File{}, err
	}
	f := File{
		Size: int64(binary.LittleEndian.Uint32(b[:])), offset: int64(binary.LittleEndian.Uint32(b[4:])),
		folder:   int(binary.LittleEndian.Uint16(b[8:])),
		Modified: dosTime(binary.LittleEndian.Uint16(b[10:]), binary.LittleEndian.Uint16(b[12:])),
	}
	var name []byte
	var one [1]byte
	for {
		if err := c.in.full(one[:]); err != nil {
			return File{}, err
		}
		if one[0] == 0 {
			break
		}
		if name = append(name, one[0]); len(name) > maxName {
			return File{}, damaged("a file's name is longer than %d bytes", maxName)
		}
	}
	f.Name = nameOf(name, binary.LittleEndian.Uint16(b[14:])&attrUTF8 != 0)
	switch {
	case f.folder >= inSet:
		return File{}, fault.New(fault.Unsupported, "cabinet: it is one of a set of cabinets, and only whole ones are read")
	case f.folder >= len(c.folders):
		return File{}, damaged("a file is in folder %d of %d", f.folder, len(c.folders))
	case f.Size+f.offset > int64(c.folders[f.folder].blocks)*maxPlain:
		return File{}, damaged("a file is longer than its folder")
	}
	return f, nil
}

// nameOf reads a name. Names that are not marked as UTF-8 are in the maker's
// code page, which the format does not name: other bytes than ASCII become
// U+FFFD unless they happen to be UTF-8.
func nameOf(b []byte, marked bool) string {
	s := string(b)
	if !marked && !utf8.ValidString(s) || marked {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	return strings.ReplaceAll(s, `\`, "/")
}

// dosTime reads the date and time of MS-DOS, in steps of two seconds since
// 1980.
func dosTime(date, clock uint16) time.Time {
	year, month, day := int(date>>9)+1980, int(date>>5&15), int(date&31)
	if month < 1 || month > 12 || day < 1 {
		return time.Time{}
	}
	return time.Date(year, time.Month(month), day, int(clock>>11), int(clock>>5&63), int(clock&31)*2, 0, time.UTC)
}
