package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// ContentHash returns a SHA-256 (hex) over everything in the shard that a match
// depends on: all but the version, date and notes that each publication gives
// it anew. Two shards of a platform with the same one give the same findings.
func (s *Shard) ContentHash() (string, error) {
	head := s.header
	head.Version, head.Created, head.Notes = 0, time.Time{}, nil
	text, err := json.Marshal(head)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "catalog: the shard's header can't be encoded")
	}
	h := sha256.New()
	h.Write(text)
	from := s.start[secHeader] + s.length[secHeader]
	n, err := io.Copy(h, io.NewSectionReader(s.r, from, s.size-from))
	if err == nil && n != s.size-from {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "catalog: the shard can't be read")
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
