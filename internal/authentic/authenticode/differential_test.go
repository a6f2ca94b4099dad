package authenticode

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// theirs asks osslsigncode. It trusts the lab's root for signers and time-stamping authorities.
func (l *lab) theirs(file, now string, args ...string) (bool, string) {
	argv := append([]string{"verify", "-CAfile", l.root.file + ".pem", "-TSA-CAfile", l.root.file + ".pem", "-time", unix(now), "-in", file}, args...)
	cmd := exec.CommandContext(l.t.Context(), "osslsigncode", argv...)
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		l.t.Fatal(err)
	}
	return err == nil, string(out)
}

// ours verifies with the same trust.
func (l *lab) ours(file, now string, expect Expect) (Signature, error) {
	data, err := os.ReadFile(file)
	l.must(err)
	trust := Trust{Roots: []*x509.Certificate{l.root.cert}, TSARoots: []*x509.Certificate{l.root.cert}}
	return Verify(bytes.NewReader(data), int64(len(data)), Sniff, trust, expect, day(now))
}

const now = "2026-06-01"

// TestAgreesWithOsslsigncode makes files of each kind in each state and asks both. Where the two differ on purpose, the case
// says so.
func TestAgreesWithOsslsigncode(t *testing.T) {
	l, outer := newLab(t), testing.TB(t)
	type made struct {
		name    string
		make    func(in string) string
		at      string // when it is judged, now if empty
		want    Refusal
		differs string // why osslsigncode accepts what we refuse
		stamped bool
	}
	for _, kind := range []Kind{PE, MSI, CAB} {
		plain := l.unsigned(kind)
		cases := []made{
			{name: "unsigned", make: func(in string) string { return in }, want: Unsigned},
			{name: "good", make: func(in string) string { return l.sign(in, l.signer) }},
			{name: "good with timestamp", make: func(in string) string { return l.sign(in, l.signer, l.stamped(l.tsa, signTime)...) }, stamped: true},
			{name: "good SHA-512", make: func(in string) string { return l.sign(in, l.signer, "-h", "sha512") }},
			{name: "good with an elliptic key", make: func(in string) string { return l.sign(in, l.elliptic) }},
			{name: "good through an issuer", make: func(in string) string { return l.sign(in, l.issued, "-ac", l.issuer.file+".pem") }},
			{name: "the issuer is left out", make: func(in string) string { return l.sign(in, l.issued) }, want: UntrustedChain},
			{name: "expired", make: func(in string) string { return l.sign(in, l.short) }, want: Expired},
			{name: "expired, judged in time", make: func(in string) string { return l.sign(in, l.short) }, at: "2024-07-01"},
			{name: "expired with timestamp", make: func(in string) string { return l.sign(in, l.short, l.stamped(l.tsa, signTime)...) }, stamped: true},
			{name: "stamped after it expired", make: func(in string) string { return l.sign(in, l.short, l.stamped(l.tsa, laterTime)...) }, want: Expired},
			{name: "expired, stamped by a stranger", make: func(in string) string { return l.sign(in, l.short, l.stamped(l.strangerTSA, signTime)...) }, want: Expired},
			{name: "self-signed", make: func(in string) string { return l.sign(in, l.selfMade) }, want: SelfSigned},
			{name: "for servers", make: func(in string) string { return l.sign(in, l.server) }, want: UntrustedChain},
			{name: "for nothing", make: func(in string) string { return l.sign(in, l.noUsage) }, want: UntrustedChain, differs: "osslsigncode and Windows take no list of usages for any"},
			{name: "tampered", make: func(in string) string { return l.tamper(l.sign(in, l.signer)) }, want: Tampered},
			{name: "tampered with timestamp", make: func(in string) string { return l.tamper(l.sign(in, l.signer, l.stamped(l.tsa, signTime)...)) }, want: Tampered},
			{name: "cut off", make: func(in string) string { return l.cut(l.sign(in, l.signer)) }, want: Malformed},
			{name: "SHA-1", make: func(in string) string { return l.sign(in, l.signer, "-h", "sha1") }, want: Weak, differs: "osslsigncode judges no hash"},
			{name: "RSA of 1024 bits", make: func(in string) string { return l.sign(in, l.small) }, want: Weak, differs: "osslsigncode leaves keys to OpenSSL's level"},
			{name: "SHA-1 and SHA-256", make: func(in string) string {
				return l.sign(l.sign(in, l.signer, "-h", "sha1"), l.signer, append([]string{"-h", "sha256", "-nest"}, l.stamped(l.tsa, signTime)...)...)
			}, stamped: true},
		}
		switch kind {
		case PE:
			cases = append(cases, made{name: "page hashes", make: func(in string) string { return l.sign(in, l.signer, "-ph") }})
		case MSI:
			cases = append(cases,
				made{name: "extended", make: func(in string) string { return l.sign(in, l.signer, "-add-msi-dse") }},
				made{name: "extended, a time is changed", make: func(in string) string { return l.otherTimes(l.sign(in, l.signer, "-add-msi-dse")) }, want: Tampered},
				made{name: "a time is changed", make: func(in string) string { return l.otherTimes(l.sign(in, l.signer)) }},
			)
		}
		for _, c := range cases {
			t.Run(string(kind)+"/"+c.name, func(t *testing.T) {
				l.t = t
				defer func() { l.t = outer }()
				file, at := c.make(plain), c.at
				if at == "" {
					at = now
				}
				sig, err := l.ours(file, at, Expect{Publisher: "Acme"})
				if c.want == "" && err != nil || c.want != "" && !errors.Is(err, c.want) {
					t.Errorf("ours: %v, want %q", err, c.want)
				}
				if err == nil && (sig.Timestamped != c.stamped || sig.Kind != kind || c.stamped && !sig.SignedAt.Equal(day(signTime))) {
					t.Errorf("ours: %+v", sig)
				}
				good, said := l.theirs(file, at)
				if want := c.want == "" || c.differs != ""; good != want {
					t.Errorf("osslsigncode accepts: %v, want %v\n%s", good, want, said)
				}
			})
		}
	}
}

// tamper changes one byte of the payload. The cabinet inside an MSI is found by its folder's first bytes.
func (l *lab) tamper(file string) string {
	data, err := os.ReadFile(file)
	l.must(err)
	switch {
	case sniff(data) == MSI:
		data[bytes.Index(data, []byte("MSCF"))+70] ^= 1
	default:
		data[700] ^= 1
	}
	l.must(os.WriteFile(file, data, 0o600))
	return file
}

// cut takes the last 600 bytes away: more than one sector.
func (l *lab) cut(file string) string {
	info, err := os.Stat(file)
	l.must(err)
	l.must(os.Truncate(file, info.Size()-600))
	return file
}

// otherTimes writes a time into the directory entry of a stream.
func (l *lab) otherTimes(file string) string {
	data, err := os.ReadFile(file)
	l.must(err)
	at := bytes.Index(data, []byte("\x05\x00S\x00u\x00m\x00"))
	if at < 0 {
		l.t.Fatal("the MSI has no summary information")
	}
	data[at+100] ^= 0x55
	l.must(os.WriteFile(file, data, 0o600))
	return file
}

// TestRealFile checks a program that WireGuard LLC signed in 2021 and DigiCert stamped, which lies in the Go module cache,
// against the roots of Debian's ca-certificates.
func TestRealFile(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "windows", "testdata", "ev-signed-file.exe"))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		t.Fatalf("ca-certificates is missing: run scripts/setup test: %v", err)
	}
	roots, err := ParseRoots(bundle)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := Verify(bytes.NewReader(data), int64(len(data)), PE, Trust{Roots: roots, TSARoots: roots}, Expect{Publisher: "WireGuard LLC"}, day(now))
	if err != nil {
		t.Fatal(err)
	}
	if !sig.Timestamped || sig.SignedAt.Year() != 2021 || sig.Digest != "sha256" {
		t.Errorf("%+v", sig)
	}
	t.Logf("%+v", sig)
}
