package authenticode

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"pgregory.net/rapid"
)

func TestExpect(t *testing.T) {
	l := newLab(t)
	file := l.sign(l.unsigned(PE), l.signer)
	strong, windows := thumbprints(l.signer.cert)
	other, _ := thumbprints(l.short.cert)
	for _, c := range []struct {
		name   string
		expect Expect
		want   Refusal
	}{
		{"anyone", Expect{}, ""},
		{"common name", Expect{Publisher: "Acme signer"}, ""},
		{"organization", Expect{Publisher: "Acme"}, ""},
		{"case matters", Expect{Publisher: "acme"}, WrongPublisher},
		{"part of a name", Expect{Publisher: "Acm"}, WrongPublisher},
		{"thumbprint", Expect{Thumbprints: []string{other, strong}}, ""},
		{"thumbprint of Windows", Expect{Thumbprints: []string{strings.ToUpper(windows)}}, ""},
		{"thumbprint with colons", Expect{Thumbprints: []string{strong[:2] + ":" + strong[2:10] + " " + strong[10:]}}, ""},
		{"other thumbprint", Expect{Thumbprints: []string{other}}, WrongPublisher},
		{"empty thumbprint", Expect{Thumbprints: []string{""}}, WrongPublisher},
		{"right name, other thumbprint", Expect{Publisher: "Acme", Thumbprints: []string{other}}, WrongPublisher},
		{"right thumbprint, other name", Expect{Publisher: "Evil", Thumbprints: []string{strong}}, WrongPublisher},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := l.ours(file, now, c.expect); c.want == "" && err != nil || c.want != "" && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	for thumbprint, want := range map[string]bool{strong: true, other: false} {
		if good, said := l.theirs(file, now, "-require-leaf-hash", "sha256:"+thumbprint); good != want {
			t.Errorf("osslsigncode accepts %s: %v\n%s", thumbprint, good, said)
		}
	}
}

func TestTrust(t *testing.T) {
	l := newLab(t)
	short := l.load(l.sign(l.unsigned(CAB), l.short, l.stamped(l.tsa, signTime)...))
	later := l.load(l.sign(l.unsigned(CAB), l.signer, l.stamped(l.tsa, "2025-06-01")...))
	issued := l.load(l.sign(l.unsigned(CAB), l.issued))
	lifetime := l.load(l.sign(l.unsigned(CAB), l.party("lifetime", &l.root, false, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, "2025-01-01"), l.stamped(l.tsa, signTime)...))
	root, stranger := []*x509.Certificate{l.root.cert}, []*x509.Certificate{l.stranger.cert}
	for _, c := range []struct {
		name    string
		data    []byte
		at      string
		trust   Trust
		want    error
		says    string
		stamped bool
	}{
		{"all", short, now, Trust{Roots: root, TSARoots: root}, nil, "", true},
		{"no authority is trusted", short, now, Trust{Roots: root}, Expired, "no time-stamping authority is trusted", false},
		{"another authority is trusted", short, now, Trust{Roots: root, TSARoots: stranger}, Expired, "leads to no trusted root", false},
		{"an authority is no root for code", short, now, Trust{Roots: stranger, TSARoots: root}, UntrustedChain, "leads to no trusted root", false},
		{"a certificate that ends its signatures", lifetime, "2024-07-01", Trust{Roots: root, TSARoots: root}, nil, "", true},
		{"its signatures have ended", lifetime, now, Trust{Roots: root, TSARoots: root}, Expired, "valid from 2024-01-01 to 2025-01-01", false},
		{"not valid yet", short, "2023-12-01", Trust{Roots: root, TSARoots: root}, Expired, "which is in the future", false},
		{"a stamp from the future does not count", later, "2024-07-01", Trust{Roots: root, TSARoots: root}, nil, "", false},
		{"the intermediate is handed in", issued, now, Trust{Roots: root, Intermediates: []*x509.Certificate{l.issuer.cert}}, nil, "", false},
		{"an intermediate is no root", issued, now, Trust{Roots: stranger, Intermediates: []*x509.Certificate{l.issuer.cert, l.root.cert}}, UntrustedChain, "", false},
		{"the certificate itself is trusted", issued, now, Trust{Roots: []*x509.Certificate{l.issued.cert}}, nil, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sig, err := Verify(bytes.NewReader(c.data), int64(len(c.data)), CAB, c.trust, Expect{}, day(c.at))
			if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err != nil && (!strings.Contains(fault.Public(err), c.says) || fault.CodeOf(err) != fault.Untrusted) {
				t.Errorf("%q does not say %q", fault.Public(err), c.says)
			}
			if sig.Timestamped != c.stamped {
				t.Errorf("timestamped: %v", sig.Timestamped)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		if _, err := Verify(bytes.NewReader(short), int64(len(short)), CAB, Trust{TSARoots: root}, Expect{}, day(now)); !fault.Is(err, fault.Invalid) {
			t.Errorf("without roots: %v", err)
		}
	})
	t.Run("another kind", func(t *testing.T) {
		trust := Trust{Roots: root}
		if _, err := Verify(bytes.NewReader(short), int64(len(short)), MSI, trust, Expect{}, day(now)); !errors.Is(err, Malformed) {
			t.Errorf("a CAB as MSI: %v", err)
		}
		if _, err := Verify(strings.NewReader("#!/bin/sh"), 9, Sniff, trust, Expect{}, day(now)); !fault.Is(err, fault.Unsupported) {
			t.Errorf("a script: %v", err)
		}
		if _, err := Verify(strings.NewReader(""), 0, Sniff, trust, Expect{}, day(now)); !fault.Is(err, fault.Unsupported) {
			t.Errorf("nothing: %v", err)
		}
	})
}

// TestAppended adds what Windows would leave out of account.
func TestAppended(t *testing.T) {
	l := newLab(t)
	pe, cab := l.load(l.sign(l.unsigned(PE), l.signer)), l.load(l.sign(l.unsigned(CAB), l.signer))
	for name, data := range map[string][]byte{
		"behind a PE":  append(bytes.Clone(pe), "12345678"...),
		"behind a CAB": append(bytes.Clone(cab), "12345678"...),
		"in the table": grow(pe),
	} {
		if _, err := Verify(bytes.NewReader(data), int64(len(data)), Sniff, l.trust(), Expect{}, day(now)); !errors.Is(err, Tampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// grow adds bytes to the only signature of a minimal PE file, and to all the lengths (CVE-2013-3900).
func grow(pe []byte) []byte {
	data := append(bytes.Clone(pe), "12345678"...)
	entry := data[0x80+24+144:]
	at := uint32(entry[0]) | uint32(entry[1])<<8 | uint32(entry[2])<<16
	for _, field := range [][]byte{entry[4:], data[at:]} {
		n := uint32(field[0]) | uint32(field[1])<<8
		n = (n+7)&^7 + 8
		field[0], field[1] = byte(n), byte(n>>8)
	}
	return data
}

// TestNested puts a good signature into a bad one and the other way round.
func TestNested(t *testing.T) {
	l := newLab(t)
	nest := func(outer, inner party, hash string) string {
		return l.sign(l.sign(l.unsigned(PE), outer), inner, "-h", hash, "-nest")
	}
	self, expired := nest(l.selfMade, l.signer, "sha256"), nest(l.selfMade, l.short, "sha256")
	if sig, err := l.ours(self, now, Expect{}); err != nil || sig.Publisher != "Acme signer" {
		t.Errorf("a good one nested in a self-signed one: %+v %v", sig, err)
	}
	if _, err := l.ours(expired, now, Expect{}); !errors.Is(err, Expired) {
		t.Errorf("two bad ones: %v", err)
	}
	if sig, err := l.ours(nest(l.signer, l.elliptic, "sha512"), now, Expect{}); err != nil || sig.Digest != "sha512" || sig.Publisher != "Acme elliptic" {
		t.Errorf("the best of two: %+v %v", sig, err)
	}
	if sig, err := l.ours(nest(l.signer, l.elliptic, "sha512"), now, Expect{Publisher: "Acme signer"}); err != nil || sig.Digest != "sha256" {
		t.Errorf("the expected one of two: %+v %v", sig, err)
	}
}

// TestEveryByteCounts changes single bytes: outside of the signature all are covered but those that Authenticode leaves out.
func TestEveryByteCounts(t *testing.T) {
	l := newLab(t)
	type target struct {
		data []byte
		free func(at int) bool // may change without harm
	}
	pe, cab := l.load(l.sign(l.unsigned(PE), l.signer)), l.load(l.sign(l.unsigned(CAB), l.signer))
	peEnd, cabEnd := len(l.load(l.unsigned(PE))), len(l.load(l.unsigned(CAB)))+24
	targets := []target{
		{pe, func(at int) bool { return at >= 0x80+24+64 && at < 0x80+24+68 || at >= peEnd }},
		{cab, func(at int) bool { return at >= 34 && at < 36 || at >= 40 && at < 44 || at >= cabEnd }},
	}
	rapid.Check(t, func(rt *rapid.T) {
		target := targets[rapid.IntRange(0, 1).Draw(rt, "kind")]
		data := bytes.Clone(target.data)
		at := rapid.IntRange(0, len(data)-1).Draw(rt, "at")
		data[at] ^= byte(rapid.IntRange(1, 255).Draw(rt, "with"))
		sig, err := Verify(bytes.NewReader(data), int64(len(data)), Sniff, l.trust(), Expect{}, day(now))
		if err == nil && (!target.free(at) || sig.Thumbprint != l.strong()) {
			rt.Errorf("byte %d does not count: %+v", at, sig)
		}
	})
}

func (l *lab) strong() string {
	s, _ := thumbprints(l.signer.cert)
	return s
}

func (l *lab) trust() Trust {
	return Trust{Roots: []*x509.Certificate{l.root.cert}, TSARoots: []*x509.Certificate{l.root.cert}}
}

func (l *lab) load(file string) []byte {
	l.t.Helper()
	data, err := os.ReadFile(file)
	l.must(err)
	return data
}
