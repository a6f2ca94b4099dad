// Package cabinet reads cabinet files (.cab) as a stream.
//
// A Reader goes through a cabinet from its beginning to its end, file by file,
// as archive/tar does: nothing is unpacked to disk, cabinets in cabinets can be
// read without a copy, and memory holds the table of files and one window of at
// most 2 MiB, whatever the cabinet's size. Stored, MSZIP and LZX folders are
// read; Quantum, and cabinets that are parts of a set, are refused by name.
//
// Cabinets come from outside: every length is bounded before it is believed,
// and every data block is held against its checksum.
//
// Formats: [MS-CAB] Cabinet File Format, [MS-MCI] for MSZIP, and Microsoft's
// LZX description in [MS-PATCH] and the Cabinet SDK.
package cabinet

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/fettlehq/fettle/internal/fault"
)

// Reader reads the files of one cabinet in the order in which their bytes
// stand. It is used by one goroutine.
type Reader struct {
	in      *input
	files   []File
	folders []folder
	at      int // index of the next file

	open   *stream // the folder at hand
	folder int
	left   int64 // bytes of the file at hand that are not read yet
	err    error
}

// NewReader reads the tables of the cabinet in r. It returns fault.Invalid for
// what is no cabinet or is damaged, fault.Unsupported for a cabinet that is one
// of a set, uses Quantum or an order that can't be read as a stream, and what r
// returns otherwise, as fault.Unavailable.
func NewReader(r io.Reader) (*Reader, error) {
	c := &Reader{in: &input{r: r}, folder: -1}
	if err := c.tables(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.files, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.folder, b.folder), cmp.Compare(a.offset, b.offset))
	})
	return c, nil
}

// Files lists the files in the order in which Next gives them.
func (c *Reader) Files() []File { return slices.Clone(c.files) }

// Next goes on to the next file, skipping what is not read of the one before.
// It returns io.EOF after the last.
func (c *Reader) Next() (File, error) {
	if c.err != nil {
		return File{}, c.err
	}
	if c.at == len(c.files) {
		return File{}, io.EOF
	}
	f := c.files[c.at]
	c.at++
	if c.err = c.seek(f); c.err != nil {
		return File{}, c.err
	}
	c.left = f.Size
	return f, nil
}

// seek brings the stream to the first byte of f.
func (c *Reader) seek(f File) error {
	if f.Size == 0 {
		return nil
	}
	if f.folder != c.folder {
		d := c.folders[f.folder]
		if err := c.in.skipTo(d.start); err != nil {
			return err
		}
		s, err := newStream(c.in, d)
		if err != nil {
			return err
		}
		c.open, c.folder = s, f.folder
	}
	if f.offset < c.open.pos {
		return fault.New(fault.Unsupported, "cabinet: files share their bytes, which can't be read as a stream")
	}
	return c.open.discard(f.offset - c.open.pos)
}

// Read reads the file at hand; io.EOF ends it. An error other than io.EOF ends
// the whole cabinet.
func (c *Reader) Read(b []byte) (int, error) {
	switch {
	case c.err != nil:
		return 0, c.err
	case c.left == 0:
		return 0, io.EOF
	}
	n, err := c.open.read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}

// input counts what is read, so that offsets of the tables can be reached.
type input struct {
	r   io.Reader
	pos int64
}

func (in *input) full(b []byte) error {
	n, err := io.ReadFull(in.r, b)
	in.pos += int64(n)
	return readError(err)
}

// skipTo reads on to an absolute offset.
func (in *input) skipTo(pos int64) error {
	if pos < in.pos {
		return fault.New(fault.Unsupported, "cabinet: its parts do not follow each other, so it can't be read as a stream")
	}
	n, err := io.CopyN(io.Discard, in.r, pos-in.pos)
	in.pos += n
	return readError(err)
}

func readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("it is cut off")
	case fault.CodeOf(err) != fault.Internal: // of a cabinet around this one, or of what fetches it
		return err
	}
	return fault.Wrap(err, fault.Unavailable, "cabinet: it can't be read")
}

func damaged(format string, args ...any) error {
	return fault.New(fault.Invalid, "cabinet: "+format, args...)
}
