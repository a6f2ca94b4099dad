package assess

import (
	"hash/fnv"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/fettlehq/fettle/internal/inventory"
)

// places hands out numbers of profiles in blocks per family.
type places struct {
	next  uint32
	spare []uint32          // starts of whole blocks that are free again
	open  map[uint64]*block // where the next profile of a family goes
	owner []*block          // by block
}

// block is a range of numbers of one family.
type block struct {
	family uint64
	start  uint32
	used   uint32 // numbers handed out, from the start
	gone   uint32 // of them, dead and swept
}

// blockSize is how many profiles stand together at least.
const blockSize = 64

func (p *places) take(family uint64) uint32 {
	b := p.open[family]
	if b == nil {
		b = &block{family: family}
		if last := len(p.spare) - 1; last >= 0 {
			b.start, p.spare = p.spare[last], p.spare[:last]
			p.owner[b.start/blockSize] = b
		} else {
			b.start = p.next
			p.next += blockSize
			p.owner = append(p.owner, b)
		}
		p.open[family] = b
	}
	n := b.start + b.used
	if b.used++; b.used == blockSize {
		delete(p.open, family)
	}
	return n
}

// giveBack frees blocks all of whose numbers are dead.
func (p *places) giveBack(dead *roaring.Bitmap) {
	it := dead.Iterator()
	for it.HasNext() {
		b := p.owner[it.Next()/blockSize]
		if b.gone++; b.gone < b.used {
			continue
		}
		if p.open[b.family] == b {
			delete(p.open, b.family)
		}
		p.spare = append(p.spare, b.start)
	}
}

// family groups machines that resemble each other: the platform and the least
// hash over the package names, which two machines share as often as they share
// names (MinHash). Numbers of one family stand next to each other, so that the
// bitmaps become runs.
func family(snap *inventory.Snapshot) uint64 {
	least := ^uint64(0)
	for _, p := range snap.Packages {
		h := fnv.New64a()
		h.Write([]byte(p.Name))
		least = min(least, h.Sum64())
	}
	h := fnv.New64a()
	h.Write([]byte(snap.OS.Platform()))
	return least ^ h.Sum64()
}
