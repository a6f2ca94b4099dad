package authenticode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

var update = flag.Bool("update", false, "make the files in testdata anew")

func readerAt(data []byte) io.ReaderAt { return bytes.NewReader(data) }

// seeds are files of the lab's, kept so that every run of a fuzz target starts from the same bytes. TestSeeds -update
// makes them anew.
var seeds = []string{"plain.exe", "plain.cab", "plain.msi", "good.exe", "good.cab", "good.msi", "nested.exe"}

func TestSeeds(t *testing.T) {
	if *update {
		l := newLab(t)
		for _, kind := range []Kind{PE, CAB, MSI} {
			plain := l.unsigned(kind)
			good := l.sign(plain, l.signer, l.stamped(l.tsa, signTime)...)
			l.must(os.WriteFile(filepath.Join("testdata", "plain"+filepath.Ext(plain)), l.load(plain), 0o600))
			l.must(os.WriteFile(filepath.Join("testdata", "good"+filepath.Ext(plain)), l.load(good), 0o600))
		}
		nested := l.sign(l.sign(l.unsigned(PE), l.selfMade, "-h", "sha1", "-ph"), l.elliptic, append([]string{"-h", "sha384", "-nest"}, l.stamped(l.tsa, signTime)...)...)
		l.must(os.WriteFile("testdata/nested.exe", l.load(nested), 0o600))
		l.must(os.WriteFile("testdata/root.pem", l.load(l.root.file+".pem"), 0o600))
	}
	trust := seedTrust(t)
	for _, name := range seeds {
		data := seed(t, name)
		sig, err := Verify(readerAt(data), int64(len(data)), Sniff, trust, Expect{Publisher: "Acme"}, day(now))
		if signed := !strings.HasPrefix(name, "plain"); signed && (err != nil || !sig.Timestamped) || !signed && !errors.Is(err, Unsigned) {
			t.Errorf("%s: %+v %v", name, sig, err)
		}
	}
}

func seed(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func seedTrust(t testing.TB) Trust {
	t.Helper()
	roots, err := ParseRoots(seed(t, "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return Trust{Roots: roots, TSARoots: roots}
}

// FuzzVerify feeds whole files. Whatever they hold, the answer is a refusal or a signature by who signed the seeds, and
// nothing panics or runs away.
func FuzzVerify(f *testing.F) {
	for _, name := range seeds {
		f.Add(seed(f, name))
	}
	f.Add(bomb())
	trust := seedTrust(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		sig, err := Verify(readerAt(data), int64(len(data)), Sniff, trust, Expect{Publisher: "Acme"}, day(now))
		switch {
		case err == nil && sig.Publisher != "Acme signer" && sig.Publisher != "Acme elliptic":
			t.Errorf("accepted from %q", sig.Publisher)
		case err != nil && !isRefusal(err) && !fault.Is(err, fault.Unsupported):
			t.Errorf("an error that is no refusal: %v", err)
		}
	})
}

// FuzzSignature feeds signatures as they stand in a file, without the file: the parsers of PKCS #7 and timestamps.
func FuzzSignature(f *testing.F) {
	for _, name := range []string{"good.exe", "nested.exe"} {
		data := seed(f, name)
		pe, err := openPE(readerAt(data), int64(len(data)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pe.signed[0])
	}
	trust := seedTrust(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		sd, err := parseSignedData(der)
		if err != nil {
			if !isRefusal(err) {
				t.Errorf("an error that is no refusal: %v", err)
			}
			return
		}
		v := verifier{kind: PE, trust: trust, now: day(now)}
		_, _, _ = v.indirect(sd)
		_, _ = sd.verify(sd.content, true)
		if when, why := v.timestamp(sd); !when.IsZero() && (why != "" || when.After(v.now)) {
			t.Errorf("a timestamp of %s: %s", when, why)
		}
	})
}

// bomb is a compound file of 1536 bytes whose directory goes on with itself for ever. Reading it with relic v8.2.0 used up
// all memory, which a program can't survive.
func bomb() []byte {
	b := make([]byte, 1536)
	le := binary.LittleEndian
	copy(b, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	for at, v := range map[int]uint16{24: 0x3e, 26: 3, 28: 0xfffe, 30: 9, 32: 6} {
		le.PutUint16(b[at:], v)
	}
	for at, v := range map[int]uint32{44: 1, 48: 1, 56: 4096, 60: 0xfffffffe, 68: 0xfffffffe} {
		le.PutUint32(b[at:], v)
	}
	for i := 1; i < 109; i++ {
		le.PutUint32(b[76+4*i:], 0xffffffff)
	}
	le.PutUint32(b[512:], 0xfffffffd)
	le.PutUint32(b[516:], 1) // after the directory's sector comes the directory's sector
	copy(b[1024:], "R\x00o\x00o\x00t\x00 \x00E\x00n\x00t\x00r\x00y\x00")
	le.PutUint16(b[1024+64:], 22)
	b[1024+66] = 5
	for _, at := range []int{68, 72, 76} {
		le.PutUint32(b[1024+at:], 0xffffffff)
	}
	return b
}

func TestBomb(t *testing.T) {
	data := bomb()
	l := newLab(t)
	if _, err := Verify(readerAt(data), int64(len(data)), Sniff, l.trust(), Expect{}, day(now)); !errors.Is(err, Malformed) {
		t.Errorf("got %v", err)
	}
}
