package catalog

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// twoDays are a shard, the one of the next day, and the delta between them.
func twoDays(t testing.TB) (older *Shard, want, delta []byte) {
	t.Helper()
	c := Contents{Header: testHeader(), Patches: []patch.Patch{
		debPatch("zlib", "1.0-1", []string{"aaaaaaaaaaaaaaaa"}, "zlib1g"), debPatch("bash", "5.2-1", []string{"aaaaaaaaaaaaaaaa"}, "bash"),
	}}
	older, _ = encode(t, c)
	c.Header.Version++
	c.Patches = append(c.Patches[:1:1], debPatch("zlib", "1.0-1+deb12u1", []string{"bbbbbbbbbbbbbbbb"}, "zlib1g"))
	newer, want := encode(t, c)
	var d bytes.Buffer
	if err := MakeDelta(&d, older, newer); err != nil {
		t.Fatal(err)
	}
	return older, want, d.Bytes()
}

func TestReadDeltaInfo(t *testing.T) {
	_, want, delta := twoDays(t)
	info, err := ReadDeltaInfo(bytes.NewReader(delta))
	if err != nil {
		t.Fatal(err)
	}
	sum, _, _ := reopen(t, want).Hash()
	if info.Platform != "debian-12-amd64" || info.From.Version != 7 || info.To.Version != 8 || info.To.SHA256 != sum || info.To.Size != int64(len(want)) {
		t.Errorf("info %+v", info)
	}
}

func TestApplyDeltaRefuses(t *testing.T) {
	older, want, delta := twoDays(t)
	line := bytes.IndexByte(delta[len(deltaMagic):], '\n') + len(deltaMagic)
	other, _ := encode(t, Contents{Header: testHeader()})
	replace := func(from, to string) []byte {
		head := strings.Replace(string(delta[:line]), from, to, 1)
		return append([]byte(head), delta[line:]...)
	}
	sum, _, _ := reopen(t, want).Hash()
	for name, c := range map[string]struct {
		older *Shard
		delta []byte
		says  string
	}{
		"a delta for another shard": {other, delta, "it is for the shard"},
		"nothing":                   {older, nil, "does not begin"},
		"a cut delta":               {older, delta[:len(delta)-9], "unpacked"},
		"a web page":                {older, []byte(strings.Repeat("<html>", 50)), "does not begin"},
		"another outcome":           {older, replace(sum, strings.Repeat("0", 64)), "announced are"},
		"a longer outcome":          {older, replace(`"size":`+strconv.Itoa(len(want)), `"size":`+strconv.Itoa(len(want)-1)), "more than the announced"},
		"a shorter outcome":         {older, replace(`"size":`+strconv.Itoa(len(want)), `"size":`+strconv.Itoa(len(want)+1)), "announced are"},
	} {
		err := ApplyDelta(io.Discard, c.older, bytes.NewReader(c.delta))
		if !fault.Is(err, fault.Untrusted) || !strings.Contains(fault.Public(err), c.says) {
			t.Errorf("%s: %v, want Untrusted that says %q", name, err, c.says)
		}
	}
	if err := ApplyDelta(failing{}, older, bytes.NewReader(delta)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a full disk: %v, want Unavailable", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrPermission }

func TestMakeDeltaRefusesAnotherPlatform(t *testing.T) {
	a, _ := encode(t, Contents{Header: testHeader()})
	h := testHeader()
	h.Platform = "debian-12-arm64"
	b, _ := encode(t, Contents{Header: h})
	if err := MakeDelta(io.Discard, a, b); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v, want Invalid", err)
	}
}

// FuzzApplyDelta feeds the decoder behind the checks of hash and compression,
// where an attacker would have to be to reach it.
func FuzzApplyDelta(f *testing.F) {
	older, _, delta := twoDays(f)
	line := bytes.IndexByte(delta[len(deltaMagic):], '\n') + len(deltaMagic) + 1
	body, err := unpack(bytes.NewReader(delta[line:]))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		a := applier{older: older, in: takes{b: body}}
		img, err := a.image()
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := img.write(&b); err == nil {
			exercise(b.Bytes())
		}
		_ = ApplyDelta(io.Discard, older, bytes.NewReader(body))
	})
}
