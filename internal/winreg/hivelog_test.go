package winreg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
)

// TestMarvin: the vectors are those of .NET's own tests (MarvinTests.cs) whose lengths occur here.
func TestMarvin(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		data []byte
		want uint64
	}{
		{0x004FB61A001BDBCC, nil, 0x30ED35C100CD3C7D},
		{0x004FB61A001BDBCC, []byte{0x86, 0x42, 0xDC, 0x59}, 0x7008F2E87E9CF556},
		{0x804FB61A001BDBCC, nil, 0x10A9D5D3996FD65D},
		{0x804FB61A001BDBCC, []byte{0x86, 0x42, 0xDC, 0x59}, 0x36289D9654FB49F6},
		// By another's reader of logs (yarp), with the seed of logs.
		{marvinSeed, nil, 0xb39efca403966e08},
		{marvinSeed, []byte("the log entry of a hive, 32 long"), 0xdd8cbf27fab9f2ae},
	} {
		m := newMarvin(c.seed)
		if m.add(c.data); m.value() != c.want {
			t.Errorf("%x: want %x", c.data, c.want)
		}
	}
}

// seal sets the sum of a base block.
func seal(base []byte) []byte {
	var sum uint32
	for i := 0; i < 508; i += 4 {
		sum ^= le32(base, i)
	}
	u32(base, 508, sum)
	return base
}

func stamped(base []byte, first, second uint32, stamp uint64) []byte {
	u32(base, 4, first)
	u32(base, 8, second)
	binary.LittleEndian.PutUint64(base[12:], stamp)
	return seal(base)
}

// dirtied is a hive whose writing was begun and not ended.
func dirtied(data []byte, first, second uint32, stamp uint64) []byte {
	data = slices.Clone(data)
	stamped(data, first, second, stamp)
	return data
}

// logHead is the base block of a log for a hive.
func logHead(hive []byte, kind int, seq uint32, stamp uint64) []byte {
	base := slices.Clone(hive[:sector])
	u32(base, 28, uint32(kind))
	return stamped(base, seq, seq, stamp)
}

// changed lists the pages of size bytes in which two versions of a hive differ, from the first bin on.
func changed(before, after []byte, size int) (places []int) {
	for at := baseBlock; at < len(after); at += size {
		if at >= len(before) || !bytes.Equal(before[at:at+size], after[at:at+size]) {
			places = append(places, at-baseBlock)
		}
	}
	return places
}

// entryOf writes the log entry that turns one version of a hive into another.
func entryOf(before, after []byte, seq uint32) []byte {
	places := changed(before, after, baseBlock)
	out := make([]byte, entryHead)
	for _, at := range places {
		out = binary.LittleEndian.AppendUint32(out, uint32(at))
		out = binary.LittleEndian.AppendUint32(out, baseBlock)
	}
	for _, at := range places {
		out = append(out, after[baseBlock+at:2*baseBlock+at]...)
	}
	out = append(out, make([]byte, (sector-len(out)%sector)%sector)...)
	copy(out, "HvLE")
	u32(out, 4, uint32(len(out)))
	u32(out, 12, seq)
	u32(out, 16, uint32(len(after)-baseBlock))
	u32(out, 20, uint32(len(places)))
	return hashEntry(out)
}

func hashEntry(entry []byte) []byte {
	m := newMarvin(marvinSeed)
	m.add(entry[entryHead:])
	binary.LittleEndian.PutUint64(entry[24:], m.value())
	m = newMarvin(marvinSeed)
	m.add(entry[:32])
	binary.LittleEndian.PutUint64(entry[32:], m.value())
	return entry
}

// mapped writes a log of the older form, for disks with sectors of clusters times 512 bytes.
func mapped(before, after []byte, clusters int, stamp uint64) []byte {
	base := slices.Clone(after[:sector])
	u32(base, 28, logOfVista)
	u32(base, 44, uint32(clusters))
	stamped(base, 7, 7, stamp)
	width := clusters * sector
	out := append(base, make([]byte, width-sector)...)
	vector := make([]byte, (len(after)-baseBlock)/sector/8)
	places := changed(before, after, sector)
	for _, at := range places {
		vector[at/sector/8] |= 1 << (at / sector % 8)
	}
	out = append(append(out, "DIRT"...), vector...)
	out = append(out, make([]byte, (width-len(out)%width)%width)...)
	for _, at := range places {
		out = append(out, after[baseBlock+at:baseBlock+at+sector]...)
	}
	return append(out, strings.Repeat("remnant!", 200)...)
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// versions are four states of a hive, the later ones larger.
func versions(t testing.TB) (data [4][]byte, lines [4][]string) {
	return grown(t, 700)
}

// grown is versions with texts of that many words more in each.
func grown(t testing.TB, more int) (data [4][]byte, lines [4][]string) {
	t.Helper()
	m := &Memory{}
	for i := range data {
		for k := range 4 {
			path := fmt.Sprintf(`HKCU\Software\key %d`, i+k)
			v := TextValue(SZ, strings.Repeat(fmt.Sprintf("%d-%d ", i, k), more*i+1))
			if err := m.Set(path, "version", v); err != nil {
				t.Fatal(err)
			}
		}
		top := m.top.find("HKCU")
		data[i], lines[i] = (&builder{list: "lh"}).hive(top), dump(t, top, "")
	}
	return data, lines
}

func file(data []byte) Log { return bytes.NewReader(data) }

// TestHiveLogs: what stands in logs alone is read, in both forms, and nothing that must not count.
func TestHiveLogs(t *testing.T) {
	v, lines := versions(t)
	e := func(from, to int, seq uint32) []byte { return entryOf(v[from], v[to], seq) }
	head := func(seq uint32) []byte { return logHead(v[0], logOfBlue, seq, 50) }
	flip := func(data []byte, at int) []byte {
		data = slices.Clone(data)
		data[at] ^= 1
		return data
	}
	lost := func(data []byte) []byte { // its base block was being written
		data = slices.Clone(data)
		u32(data, 36, 0x7fff)
		return data
	}
	behind := func(data []byte, at int, n uint32) []byte { // an entry, sealed, with a number that is wrong
		data = slices.Clone(data)
		u32(data, at, n)
		return hashEntry(data)
	}
	open := dirtied(v[0], 6, 5, 50)
	two := join(head(5), e(0, 1, 5), e(1, 2, 6))
	for name, c := range map[string]struct {
		hive  []byte
		logs  []Log
		want  int // version
		dirty bool
	}{
		"no log":              {open, nil, 0, true},
		"an empty log":        {open, []Log{file(nil), file(make([]byte, 4096))}, 0, true},
		"one":                 {open, []Log{file(join(head(5), e(0, 1, 5)))}, 1, false},
		"several entries":     {open, []Log{file(two)}, 2, false},
		"both logs":           {open, []Log{file(two), file(join(head(7), e(2, 3, 7)))}, 3, false},
		"the second is older": {open, []Log{file(join(head(7), e(2, 3, 7))), file(two)}, 3, false},
		"written already":     {open, []Log{file(join(head(3), e(0, 3, 3))), file(two)}, 2, false},
		"written before":      {dirtied(v[0], 9, 8, 50), []Log{file(two)}, 0, true},
		"remnants":            {open, []Log{file(join(two, e(0, 3, 4), e(0, 3, 7)))}, 2, false},
		"cut off":             {open, []Log{file(two[:len(two)-sector])}, 1, false},
		"half written":        {open, []Log{file(flip(two, len(two)-100))}, 1, false},
		"another head":        {open, []Log{file(join(head(5), flip(e(0, 1, 5), 8)))}, 0, true},
		"first is damaged":    {open, []Log{file(flip(two, sector+100))}, 0, true},
		"a gap":               {open, []Log{file(join(head(5), e(0, 1, 5))), file(join(head(7), e(2, 3, 7)))}, 1, true},
		"mid-write of a log":  {open, []Log{file(join(stamped(head(5), 6, 5, 50), e(0, 1, 5)))}, 0, true},
		"clean":               {dirtied(v[0], 5, 5, 50), []Log{file(two)}, 0, false},
		"bins of odd size":    {open, []Log{file(join(head(5), behind(e(0, 1, 5), 16, 5000)))}, 0, true},
		"too many pages":      {open, []Log{file(join(head(5), behind(e(0, 1, 5), 20, 1<<30)))}, 0, true},
		"page of no size":     {open, []Log{file(join(head(5), behind(e(0, 1, 5), entryHead+4, 0)))}, 0, true},
		"page behind the end": {open, []Log{file(join(head(5), behind(e(0, 1, 5), entryHead, 1<<30)))}, 0, true},
		"page of odd place":   {open, []Log{file(join(head(5), behind(e(0, 1, 5), entryHead, 100)))}, 0, true},
		"damaged head":        {lost(v[0]), []Log{file(two)}, 2, false},
		"damaged, newest log": {lost(v[2]), []Log{file(two), file(join(head(7), e(2, 3, 7)))}, 3, false},

		"old":                    {open, []Log{file(mapped(v[0], v[1], 1, 50))}, 1, false},
		"old, large sectors":     {open, []Log{file(mapped(v[0], v[2], 8, 50))}, 2, false},
		"old, of another write":  {open, []Log{file(mapped(v[0], v[1], 1, 49))}, 0, true},
		"old, the second newer":  {open, []Log{file(mapped(v[0], v[1], 1, 50)), file(mapped(v[0], v[2], 1, 51))}, 2, false},
		"old, the second stale":  {open, []Log{file(mapped(v[0], v[1], 1, 50)), file(mapped(v[0], v[2], 1, 12))}, 1, false},
		"old, cut off":           {open, []Log{file(mapped(v[0], v[1], 1, 50)[:6*sector])}, 0, true},
		"old, no vector":         {open, []Log{file(flip(mapped(v[0], v[1], 1, 50), sector))}, 0, true},
		"old, sectors of 64 kB":  {open, []Log{file(mapped(v[0], v[1], 128, 50))}, 0, true},
		"old, damaged head":      {lost(v[0]), []Log{file(mapped(v[0], v[3], 1, 50))}, 3, false},
		"old beside new":         {open, []Log{file(mapped(v[0], v[3], 1, 50)), file(two)}, 2, false},
		"a backup for a log":     {open, []Log{file(v[3])}, 0, true},
		"a log larger than read": {open, []Log{large{file(two)}}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(c.hive)
			h, err := OpenHive(bytes.NewReader(c.hive), int64(len(c.hive)), c.logs...)
			if c.want == 0 && bytes.Equal(c.hive, lost(v[0])) {
				if !fault.Is(err, fault.Invalid) {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(lines[c.want], dump(t, h.Root(), "")); diff != "" || h.Dirty() != c.dirty {
				t.Errorf("dirty %v (-want +got):\n%.500s", h.Dirty(), diff)
			}
			if !bytes.Equal(before, c.hive) {
				t.Error("the hive was written to")
			}
		})
	}
}

// large is a log that says to be larger than any that is read.
type large struct{ Log }

func (large) Size() int64 { return maxLog + sector }

// TestHiveLogsOfAnyPath: whatever is written between two states, in whatever steps and to whichever of the two logs.
func TestHiveLogsOfAnyPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Memory{}
		part := rapid.SampledFrom([]string{"a", "B", "c d", "東京"})
		steps := rapid.IntRange(2, 6).Draw(t, "steps")
		swap := rapid.IntRange(1, steps).Draw(t, "swap")
		var states [][]byte
		var want []string
		for i := range steps {
			for range rapid.IntRange(1, 8).Draw(t, "values") {
				size := rapid.SampledFrom([]int{2, 100, 5000, bigSegment + 1}).Draw(t, "size")
				path := `HKCU\` + strings.Join(rapid.SliceOfN(part, 1, 3).Draw(t, "path"), `\`)
				if err := m.Set(path, part.Draw(t, "name"), Value{Binary, bytes.Repeat([]byte{byte(i)}, size)}); err != nil {
					t.Fatal(err)
				}
			}
			states = append(states, (&builder{list: "lf"}).hive(m.top.find("HKCU")))
			want = dumpRapid(t, m.top.find("HKCU"))
		}
		logs := [2][]byte{logHead(states[0], logOfBlue, 10, 1), nil}
		for i := 1; i < steps; i++ {
			of := 0
			if i >= swap {
				of = 1
			}
			if logs[of] == nil {
				logs[of] = logHead(states[0], logOfBlue, uint32(9+i), 1)
			}
			logs[of] = append(logs[of], entryOf(states[i-1], states[i], uint32(9+i))...)
		}
		hive := dirtied(states[0], 10, 9, 1)
		files := []Log{file(logs[0]), file(logs[1])}
		if swap == 1 { // the first one was never begun
			files = files[1:]
		}
		if rapid.Bool().Draw(t, "turned") {
			slices.Reverse(files)
		}
		h, err := OpenHive(bytes.NewReader(hive), int64(len(hive)), files...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, dumpRapid(t, h.Root())); diff != "" || h.Dirty() {
			t.Fatalf("dirty %v (-written +read):\n%.600s", h.Dirty(), diff)
		}
	})
}

func FuzzHiveLog(f *testing.F) {
	v, _ := grown(f, 9)
	hive := dirtied(v[0], 6, 5, 50)
	f.Add(hive, join(logHead(v[0], logOfBlue, 5, 50), entryOf(v[0], v[1], 5)), join(logHead(v[0], logOfBlue, 6, 50), entryOf(v[1], v[2], 6)))
	f.Add(hive, mapped(v[0], v[1], 1, 50), mapped(v[0], v[2], 8, 51))
	f.Fuzz(func(t *testing.T, hive, one, two []byte) {
		one, two = slices.Clone(one), slices.Clone(two)
		for _, l := range [][]byte{one, two} { // else hardly any input gets behind the seals
			if len(l) >= sector {
				seal(l)
			}
			for at := sector; at+entryHead < len(l); {
				size := int(le32(l, at+4))
				if string(l[at:at+4]) != "HvLE" || size < entryHead || size > len(l)-at {
					break
				}
				hashEntry(l[at : at+size])
				at += max(size, sector)
			}
		}
		h, err := OpenHive(bytes.NewReader(hive), int64(len(hive)), file(one), file(two))
		if err != nil {
			if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
			return
		}
		if most := (len(one) + len(two)) / sector; len(h.pages) > most {
			t.Fatalf("%d pages of %d sectors", len(h.pages), most)
		}
		for _, n := range slices.Sorted(maps.Keys(h.pages)) {
			h.at(make([]byte, 10), int64(n)*sector)
		}
		h.calls = 20_000
		read(h.Root(), 0)
	})
}
