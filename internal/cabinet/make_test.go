package cabinet

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
)

// made is a cabinet for tests.
type made struct {
	folders []madeFolder
	reserve int  // bytes of each kind that the maker keeps for himself
	summed  bool // the checksums of data blocks take them in
	flags   uint16
}

type madeFolder struct {
	method uint16
	maker  *lzxMaker
	files  []madeFile
}

type madeFile struct {
	name string
	data []byte
}

func (f madeFolder) plain() []byte {
	var b []byte
	for _, x := range f.files {
		b = append(b, x.data...)
	}
	return b
}

// packed are the data blocks of a folder.
func (f madeFolder) packed() (blocks [][]byte, sizes []int) {
	plain := f.plain()
	for at := 0; at < len(plain); at += frame {
		sizes = append(sizes, min(frame, len(plain)-at))
	}
	switch f.method & methodMask {
	case methodLZX:
		return f.maker.pack(plain), sizes
	case methodMSZIP:
		for at := 0; at < len(plain); at += frame {
			var b bytes.Buffer
			b.WriteString("CK")
			w, _ := flate.NewWriterDict(&b, 6, plain[max(0, at-frame):at]) // the level is right
			_, _ = w.Write(plain[at:min(at+frame, len(plain))])            // into memory
			_ = w.Close()
			blocks = append(blocks, b.Bytes())
		}
	default:
		for at := 0; at < len(plain); at += frame {
			blocks = append(blocks, plain[at:min(at+frame, len(plain))])
		}
	}
	return blocks, sizes
}

func (m made) bytes() []byte {
	le := binary.LittleEndian
	var files, folders, data []byte
	count := 0
	for i, f := range m.folders {
		at := uint32(0)
		for _, x := range f.files {
			files = le.AppendUint32(files, uint32(len(x.data)))
			files = le.AppendUint32(files, at)
			files = le.AppendUint16(files, uint16(i))
			files = le.AppendUint16(files, (2026-1980)<<9|11<<5|22)
			files = le.AppendUint16(files, 13<<11|37<<5|4)
			files = le.AppendUint16(files, 0x20)
			files = append(append(files, x.name...), 0)
			at += uint32(len(x.data))
			count++
		}
	}
	head := headerSize
	if m.reserve > 0 {
		head += 4 + m.reserve
	}
	start := head + len(m.folders)*(folderSize+m.reserve) + len(files)
	own := bytes.Repeat([]byte{0xA5}, m.reserve)
	for _, f := range m.folders {
		blocks, sizes := f.packed()
		folders = le.AppendUint32(folders, uint32(start+len(data)))
		folders = le.AppendUint16(folders, uint16(len(blocks)))
		folders = append(le.AppendUint16(folders, f.method), own...)
		for i, b := range blocks {
			h := le.AppendUint16(le.AppendUint16(nil, uint16(len(b))), uint16(sizes[i]))
			sum := checksum(h, checksum(b, 0))
			if m.summed {
				sum = checksum(append(bytes.Clone(h), own...), checksum(b, 0))
			}
			data = le.AppendUint32(data, sum)
			data = append(append(append(data, h...), own...), b...)
		}
	}
	var out []byte
	out = append(out, "MSCF\x00\x00\x00\x00"...)
	out = le.AppendUint32(out, uint32(start+len(data)))
	out = le.AppendUint32(out, 0)
	out = le.AppendUint32(out, uint32(start-len(files)))
	out = le.AppendUint32(out, 0)
	out = append(out, 3, 1)
	out = le.AppendUint16(out, uint16(len(m.folders)))
	out = le.AppendUint16(out, uint16(count))
	flags := m.flags
	if m.reserve > 0 {
		flags |= flagReserve
	}
	out = le.AppendUint16(out, flags)
	out = append(out, 0, 0, 0, 0)
	if m.reserve > 0 {
		out = le.AppendUint16(out, uint16(m.reserve))
		out = append(append(out, byte(m.reserve), byte(m.reserve)), own...)
	}
	out = append(append(out, folders...), files...)
	return append(out, data...)
}
