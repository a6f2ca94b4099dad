// Package deb822 reads control files in Debian's stanza format: the dpkg status file, Packages and Sources indexes,
// Release files and apt's *.sources files.
//
// The Reader streams: memory stays at one stanza however large the file is, and values are slices of its buffer, so
// that a caller who picks three fields of 60,000 stanzas allocates nothing for the rest. Lines and stanzas are bounded
// because indexes come from outside.
//
// The format is deb822(5). Where implementations differ the Reader follows apt, which is what installs from these
// files: a line of blanks continues a field, a line of "\r\n" ends a stanza. A field that occurs twice in one stanza is
// refused as dpkg does, because two readers that pick a different one would disagree about what was signed.
package deb822

import (
	"bytes"
	"errors"
	"io"
	"iter"
)

// Bounds used when Options leaves them zero. The longest line in Debian's main index is a Provides of about 100 kB; the
// largest stanza is a Release file, about 2 MB for an archive with ten architectures.
const (
	DefaultMaxLine   = 4 << 20
	DefaultMaxStanza = 32 << 20
	maxFields        = 1024
	firstBuffer      = 128 << 10
)

// Options says what a Reader keeps and what it refuses.
type Options struct {
	// Fields names the fields to keep, in the order in which At counts them. Empty keeps every field.
	Fields []string
	// MaxLine and MaxStanza bound a line and a stanza in bytes; 0 means the defaults above.
	MaxLine, MaxStanza int
	// Comments allows lines that start with '#', as in apt's *.sources and debian/control; indexes have none.
	Comments bool
}

// field is where a field lies, in bytes from the start of the stanza. A field that is absent has lo < 0.
type field struct {
	nameLo, nameHi int
	lo, hi         int
}

// Reader reads one stanza after another. It is not safe for concurrent use.
type Reader struct {
	src     io.Reader
	opt     Options
	buf     []byte
	start   int // of the stanza, in buf
	pos     int // of the next unread line, in buf
	end     int // of the data, in buf
	eof     bool
	line    int // lines read so far
	first   int // line of the stanza's first field
	stop    int // end of the stanza, from start
	present int
	fields  []field
	err     error
}

// NewReader reads stanzas from src. It does its own buffering.
func NewReader(src io.Reader, opt Options) *Reader {
	if opt.MaxLine <= 0 {
		opt.MaxLine = DefaultMaxLine
	}
	if opt.MaxStanza <= 0 {
		opt.MaxStanza = DefaultMaxStanza
	}
	r := &Reader{src: src, opt: opt, buf: make([]byte, firstBuffer)}
	r.fields = make([]field, len(opt.Fields), max(len(opt.Fields), 32))
	return r
}

// Next moves to the next stanza. It returns false at the end of the input or at the first error; Err tells which.
// Everything that the Reader handed out before is invalid afterwards.
func (r *Reader) Next() bool {
	if r.err != nil {
		return false
	}
	r.reset()
	current := -1 // index into fields of the field that a continuation line extends; -1: none that is kept
	inStanza := false
	for {
		lo, hi, ok := r.readLine()
		if !ok {
			return inStanza && errors.Is(r.err, io.EOF)
		}
		line := r.buf[r.start+lo : r.start+hi]
		switch {
		case blank(line):
			if inStanza {
				return true
			}
			r.start, r.stop = r.pos, 0
		case line[0] == '#' && r.opt.Comments:
			if !inStanza {
				r.start = r.pos
			}
		case line[0] == ' ' || line[0] == '\t':
			if !inStanza {
				return r.fail("a continuation line where a field should start")
			}
			r.extend(current, lo, hi)
			r.stop = hi
		default:
			if !inStanza {
				inStanza, r.first = true, r.line
			}
			if current, ok = r.begin(line, lo, hi); !ok {
				return false
			}
			r.stop = hi
		}
	}
}

// Err returns the error that stopped Next, nil at a regular end of input. What is no control file is fault.Invalid and
// names the line, counted from 1; an error of the underlying reader is wrapped as it is.
func (r *Reader) Err() error {
	if errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}

// Line returns the line number of the current stanza's first field.
func (r *Reader) Line() int { return r.first }

// At returns the value of the i-th of Options.Fields, trimmed, nil when the stanza lacks it. A value of several lines
// holds its line breaks and the blanks that start each continuation; see Lines. Valid until Next.
func (r *Reader) At(i int) []byte {
	f := r.fields[i]
	if f.lo < 0 {
		return nil
	}
	return r.value(f)
}

// Get returns the value of the named field (names ignore case) or nil when the stanza lacks it or Options.Fields
// left it out. Valid until Next.
func (r *Reader) Get(name string) []byte {
	for i := range r.fields {
		if f := r.fields[i]; f.lo >= 0 && equalFold(r.buf[r.start+f.nameLo:r.start+f.nameHi], name) {
			return r.value(f)
		}
	}
	return nil
}

// All yields name and value of the stanza's kept fields: in the order of the file when every field is kept, else in
// the order of Options.Fields.
func (r *Reader) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for _, f := range r.fields {
			if f.lo >= 0 && !yield(r.buf[r.start+f.nameLo:r.start+f.nameHi], r.value(f)) {
				return
			}
		}
	}
}

// Raw returns the stanza as it stood in the input, without the final line break. With Options.Comments it is undefined.
func (r *Reader) Raw() []byte { return r.buf[r.start : r.start+r.stop] }

func (r *Reader) value(f field) []byte {
	return bytes.TrimRight(r.buf[r.start+f.lo:r.start+f.hi], " \t\r\n")
}

func (r *Reader) reset() {
	r.start, r.stop, r.present = r.pos, 0, 0
	if len(r.opt.Fields) == 0 {
		r.fields = r.fields[:0]
		return
	}
	for i := range r.fields {
		r.fields[i].lo = -1
	}
}

// begin starts the field that line opens and returns its index, -1 when it is not kept.
func (r *Reader) begin(line []byte, lo, hi int) (int, bool) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return -1, r.fail("expected \"Field: value\", found %.40q", line)
	}
	name := line[:colon]
	f := field{nameLo: lo, nameHi: lo + colon, lo: lo + colon + 1, hi: hi}
	for f.lo < f.hi && (r.buf[r.start+f.lo] == ' ' || r.buf[r.start+f.lo] == '\t') {
		f.lo++
	}
	if len(r.opt.Fields) > 0 {
		return r.pick(name, f)
	}
	if !validName(name) {
		return -1, r.fail("%.40q is not a field name", name)
	}
	for _, g := range r.fields {
		if g.nameHi-g.nameLo == colon && equalFoldBytes(r.buf[r.start+g.nameLo:r.start+g.nameHi], name) {
			return -1, r.fail("field %s occurs twice", name)
		}
	}
	if len(r.fields) >= maxFields {
		return -1, r.fail("more than %d fields in one stanza", maxFields)
	}
	r.fields = append(r.fields, f)
	return len(r.fields) - 1, true
}

func (r *Reader) pick(name []byte, f field) (int, bool) {
	for i, want := range r.opt.Fields {
		if len(want) != len(name) || !equalFold(name, want) {
			continue
		}
		if r.fields[i].lo >= 0 {
			return -1, r.fail("field %s occurs twice", name)
		}
		r.fields[i] = f
		return i, true
	}
	if !validName(name) {
		return -1, r.fail("%.40q is not a field name", name)
	}
	return -1, true
}

// extend adds a continuation line to a field. Where a comment stood between them, the line moves down over it.
func (r *Reader) extend(i, lo, hi int) {
	if i < 0 {
		return
	}
	f := &r.fields[i]
	if lo != f.hi+1 {
		copy(r.buf[r.start+f.hi+1:], r.buf[r.start+lo:r.start+hi])
		hi = f.hi + 1 + hi - lo
	}
	r.buf[r.start+f.hi] = '\n'
	f.hi = hi
}
