package cabinet

import (
	"bytes"
	"compress/flate"
	"io"

	"github.com/fettlehq/fettle/internal/fault"
)

// mszip unpacks blocks that are "CK" and a deflate stream each; a block may
// look back into the 32 KiB before it ([MS-MCI]).
type mszip struct {
	flate   io.ReadCloser
	src     bytes.Reader
	history []byte // up to 32 KiB that came before
	plain   []byte
}

func (m *mszip) next(b *blocks) ([]byte, error) {
	packed, size, err := b.next()
	if err != nil {
		return nil, err
	}
	if len(packed) < 2 || packed[0] != 'C' || packed[1] != 'K' {
		return nil, damaged("an MSZIP block does not begin with CK")
	}
	m.src.Reset(packed[2:])
	if m.flate == nil {
		m.flate = flate.NewReaderDict(&m.src, m.history)
		m.plain = make([]byte, maxPlain)
	} else if err := m.flate.(flate.Resetter).Reset(&m.src, m.history); err != nil { //nolint:forcetypeassert // documented by NewReaderDict
		return nil, fault.Wrap(err, fault.Internal, "cabinet: an MSZIP block can't be begun")
	}
	out := m.plain[:size]
	if _, err := io.ReadFull(m.flate, out); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "cabinet: an MSZIP block is damaged")
	}
	var one [1]byte
	if n, err := m.flate.Read(one[:]); n != 0 || err != io.EOF {
		return nil, damaged("an MSZIP block is longer than it says")
	}
	if len(out) < maxPlain {
		m.history = append(m.history, out...)
		m.history = m.history[max(0, len(m.history)-maxPlain):]
	} else {
		m.history = append(m.history[:0], out...)
	}
	return out, nil
}
