package assess

import (
	"slices"
	"sync"

	"github.com/fettlehq/fettle/internal/catalog"
)

// maxKept bounds the shards whose rules are held decoded, in bytes of their
// records: the catalogs of a few makers of hardware, or the slices of a dozen
// releases of Windows. Decoded they take about three times that.
const maxKept = 24 << 20

// memory holds the rules of the shards that were matched last, since decoding
// them takes most of a match.
type memory struct {
	most  int64 // bytes
	mu    sync.Mutex
	kept  []*catalog.Shard // the one that was used last comes last
	bytes int64
}

// use holds the shard's rules and lets go of others that have not been used for
// longer. A shard that has too many stays in its file, as does one that can't be
// read: the match will tell.
func (m *memory) use(s *catalog.Shard) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.kept, s); i >= 0 {
		m.kept = append(slices.Delete(m.kept, i, i+1), s)
		return
	}
	size := s.RuledBytes()
	if size == 0 || size > m.most {
		return
	}
	for m.bytes+size > m.most {
		m.drop(m.kept[0])
	}
	if s.Keep() == nil {
		m.kept, m.bytes = append(m.kept, s), m.bytes+size
	}
}

func (m *memory) drop(s *catalog.Shard) {
	s.Forget()
	m.bytes -= s.RuledBytes()
	m.kept = slices.DeleteFunc(m.kept, func(k *catalog.Shard) bool { return k == s })
}

// only lets go of shards that the catalog no longer has.
func (m *memory) only(shards map[string]*catalog.Shard) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range slices.Clone(m.kept) {
		if shards[s.Header().Platform] != s {
			m.drop(s)
		}
	}
}
