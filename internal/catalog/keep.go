package catalog

import "github.com/fettlehq/fettle/internal/patch"

// RuledBytes is the size of the records of the patches that are judged by
// their own rules, in bytes of the file. Decoded they take about three times
// that in memory.
func (s *Shard) RuledBytes() (n int64) {
	for _, i := range s.ruled() {
		from, to := s.bounds(patches, i, func(r indexRow) uint32 { return r.recEnd })
		n += to - from
	}
	return n
}

// Keep holds the patches that are judged by their own rules decoded in memory
// until Forget. It is for programs that match many machines with the shard:
// decoding takes most of a match. Without it each match reads them anew. Both
// may be called while others match.
func (s *Shard) Keep() error {
	all := make([]patch.Patch, 0, len(s.ruled()))
	for _, i := range s.ruled() {
		p, err := s.decodeRuled(i)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	s.kept.Store(&all)
	return nil
}

// Forget lets go of what Keep holds.
func (s *Shard) Forget() { s.kept.Store(nil) }

// ruledPatch is the n-th of those that ruled lists, without its archives. Its
// lists and rules may be shared: they must not be changed.
func (s *Shard) ruledPatch(n int) (patch.Patch, error) {
	if all := s.kept.Load(); all != nil {
		return (*all)[n], nil
	}
	return s.decodeRuled(s.ruled()[n])
}
