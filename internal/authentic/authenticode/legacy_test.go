package authenticode

import (
	"crypto"
	"errors"
	"testing"
)

// TestCounterSignature has osslsigncode ask a time-stamping authority of the kind that was usual before RFC 3161, which
// the test plays, and lets both judge.
func TestCounterSignature(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		name   string
		hash   crypto.Hash
		tsa    party
		accept bool // SHA-1 timestamps
		want   Refusal
		theirs bool
	}{
		{"SHA-256", crypto.SHA256, l.tsa, false, "", true},
		{"SHA-1", crypto.SHA1, l.tsa, false, Expired, true},
		{"SHA-1 is accepted", crypto.SHA1, l.tsa, true, "", true},
		{"a stranger", crypto.SHA256, l.strangerTSA, false, Expired, false},
		{"a signer of code", crypto.SHA256, l.signer, false, Expired, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.t = t
			file := l.sign(l.unsigned(PE), l.short, l.counterSigned(c.tsa, c.hash)...)
			data := l.load(file)
			trust := l.trust()
			trust.SHA1Timestamps = c.accept
			sig, err := Verify(readerAt(data), int64(len(data)), PE, trust, Expect{}, day(now))
			if c.want == "" && err != nil || c.want != "" && !errors.Is(err, c.want) {
				t.Errorf("ours: %v, want %q", err, c.want)
			}
			if err == nil && !sig.SignedAt.Equal(day(signTime)) {
				t.Errorf("ours: %+v", sig)
			}
			if good, said := l.theirs(file, now); good != c.theirs {
				t.Errorf("osslsigncode accepts: %v\n%s", good, said)
			}
		})
	}
	l.t = t
}
