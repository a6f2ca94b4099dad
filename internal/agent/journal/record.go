package journal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

const sumSize = 8 // hex digits of a CRC-32

func checksum(body []byte) uint32 {
	return crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
}

func encode(c Change) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "journal: encode a record")
	}
	line := fmt.Appendf(make([]byte, 0, len(body)+sumSize+2), "%08x ", checksum(body))
	return append(append(line, body...), '\n'), nil
}

// decode reads one line without its line break.
func decode(line []byte) (Change, bool) {
	var c Change
	if len(line) <= sumSize || line[sumSize] != ' ' {
		return c, false
	}
	sum, err := hex.DecodeString(string(line[:sumSize]))
	body := line[sumSize+1:]
	if err != nil || uint32(sum[0])<<24|uint32(sum[1])<<16|uint32(sum[2])<<8|uint32(sum[3]) != checksum(body) {
		return c, false
	}
	return c, json.Unmarshal(body, &c) == nil
}

// replay applies all good records and returns how many bytes they take.
// damaged is set when more than a torn last line follows them.
func (s *state) replay(data []byte) (good int, damaged bool) {
	for good < len(data) {
		end := bytes.IndexByte(data[good:], '\n')
		if end < 0 {
			return good, false
		}
		c, ok := decode(data[good : good+end])
		if !ok {
			// Blocks may reach the disk in any order, so the last line can
			// be whole in length and wrong in content.
			return good, good+end+1 < len(data)
		}
		s.apply(c)
		good += end + 1
	}
	return good, false
}

func (s *state) apply(c Change) {
	for _, e := range c.Put {
		s.entries[e.Task] = e
	}
	for _, id := range c.Drop {
		delete(s.entries, id)
	}
	s.seq = max(s.seq, c.Seq)
	for _, e := range c.Emit {
		s.seq = max(s.seq, e.Seq)
		s.events = append(s.events, e)
	}
	if c.Ack > 0 {
		s.events = slices.DeleteFunc(s.events, func(e wire.Event) bool { return e.Seq <= c.Ack })
	}
	s.reboots = append(s.reboots, c.Reboots...)
	s.reboots = s.reboots[max(0, len(s.reboots)-maxReboots):]
}

// whole is the state as one record.
func (s *state) whole() Change {
	c := Change{Emit: s.events, Seq: s.seq, Reboots: s.reboots}
	for _, id := range slices.Sorted(maps.Keys(s.entries)) {
		c.Put = append(c.Put, s.entries[id])
	}
	return c
}
