//go:build unix

package all

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/winreg"
)

// interrupted parts a hive into what it was before one of its values changed,
// left amid the change, and the log that has the change.
func interrupted(t *testing.T, hive, before, after string) (file, log string) {
	t.Helper()
	wide := func(s string) []byte { return winreg.TextValue(winreg.SZ, s).Data }
	data := []byte(hive)
	at := bytes.Index(data, wide(after))
	if at < 0 || len(before) != len(after) {
		t.Fatalf("the hive does not say %q", after)
	}
	const first, sector = 4096, 512
	seal := func(base []byte) {
		var sum uint32
		for i := 0; i < 508; i += 4 {
			sum ^= binary.LittleEndian.Uint32(base[i:])
		}
		binary.LittleEndian.PutUint32(base[508:], sum)
	}
	base := bytes.Clone(data[:sector])
	base[28] = 1 // a log
	seal(base)
	page := (at - first) / sector
	marks := make([]byte, sector)
	copy(marks, "DIRT")
	marks[4+page/8] = 1 << (page % 8)
	log = string(base) + string(marks) + hive[first+page*sector:first+(page+1)*sector]
	copy(data[at:], wide(before))
	data[4]++ // one of two numbers: the writing was begun
	seal(data)
	return string(data), log
}

// TestHiveAmidAChange: what a user's hive has in its log alone is listed.
func TestHiveAmidAChange(t *testing.T) {
	file, log := interrupted(t, fixture(t, "NTUSER.DAT"), "97.0", "98.1")
	for name, c := range map[string]struct {
		logs    map[string]string
		version string
		problem string
	}{
		"with its log":       {map[string]string{"NTUSER.DAT.LOG1": log}, "98.1", ""},
		"with the second":    {map[string]string{"NTUSER.DAT.LOG1": "", "NTUSER.DAT.LOG2": log}, "98.1", ""},
		"without a log":      {nil, "97.0", "products of ben alone are not known: the last changes of NTUSER.DAT are neither in it nor in its logs"},
		"with a damaged log": {map[string]string{"NTUSER.DAT.LOG1": strings.Replace(log, "DIRT", "dirt", 1)}, "97.0", "the last changes of NTUSER.DAT"},
	} {
		files := map[string]string{"Users/ben/NTUSER.DAT": file}
		for suffix, text := range c.logs {
			files["Users/ben/"+suffix] = text
		}
		s, problems, err := Collect(t.Context(), image(t, exported(t, fixture(t, "windows.reg")), files), Windows())
		if err != nil {
			t.Fatal(err)
		}
		var version string
		for _, p := range s.Find("arp", "Browser") {
			if p.Scope == "user:ben" {
				version = p.Version
			}
		}
		told := ""
		if len(problems) > 0 {
			told = fault.Public(problems[0])
		}
		if version != c.version || (c.problem == "") != (told == "") || !strings.Contains(told, c.problem) {
			t.Errorf("%s: version %q, told %q", name, version, told)
		}
	}
}
