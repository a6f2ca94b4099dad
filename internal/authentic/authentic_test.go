package authentic_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/fault"
)

const release = "Origin: Example\nSuite: stable\n- a line that starts with a dash\n-----not armor\nSHA256:\n 0123 4 main/binary-amd64/Packages\n"

func keyring(t *testing.T, data ...[]byte) authentic.Keyring {
	t.Helper()
	var all authentic.Keyring
	for _, d := range data {
		k, err := authentic.ParseKeyring(d)
		if err != nil {
			t.Fatal(err)
		}
		all = all.With(k)
	}
	return all
}

// TestAgreesWithGpgv plays good and bad files against gpgv as apt calls it. Where we are stricter, the case says so.
func TestAgreesWithGpgv(t *testing.T) {
	g := newHome(t)
	now := time.Now()
	past := []string{"--faked-system-time", faked(now.AddDate(-2, 0, 0))}
	g.key("good", "ed25519", "sign", "never")
	g.key("rsa", "rsa2048", "sign", "never")
	g.key("short", "rsa1024", "sign", "never")
	g.key("other", "ed25519", "sign", "never")
	g.key("expired", "ed25519", "sign", "1y", past...)
	sub := g.key("sub", "ed25519", "cert", "never", past...)
	g.gpg(nil, append(past, "--quick-add-key", sub, "ed25519", "sign", "1y")...)
	oldSub := g.fingerprint("sub", 1)
	g.gpg(nil, "--quick-add-key", sub, "ed25519", "sign", "never")
	newSub := g.fingerprint("sub", 2)
	revoked := g.key("revoked", "ed25519", "sign", "never")
	byRevoked := g.clearsign([]byte(release), []string{"revoked"})
	revocation, err := os.ReadFile(filepath.Join(g.dir, "openpgp-revocs.d", revoked+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	g.gpg(bytes.ReplaceAll(revocation, []byte(":-----BEGIN"), []byte("-----BEGIN")), "--import")

	// A key that loses its right to sign after it has signed.
	g.key("certonly", "ed25519", "sign,cert", "never")
	byCertOnly := g.clearsign([]byte(release), []string{"certonly"})
	g.gpg([]byte("change-usage\nS\nQ\nsave\n"), "--command-fd", "0", "--edit-key", "certonly")

	text := []byte(release)
	good := g.clearsign(text, []string{"good"})
	all := g.export("good", "rsa", "short", "expired", "sub", "revoked", "certonly")
	cut := bytes.Index(good, []byte("-----BEGIN PGP SIGNATURE"))
	for _, tc := range []struct {
		name     string
		signed   []byte
		keys     []byte
		reason   string // "" when it is good
		stricter bool   // gpgv would take it
	}{
		{"good", good, all, "", false},
		{"rsa", g.clearsign(text, []string{"rsa"}), all, "", false},
		{"signing subkey", g.clearsign(text, []string{newSub + "!"}), all, "", false},
		{"two signatures, one of an unknown key", g.clearsign(text, []string{"other", "good"}), all, "", false},
		{"tampered", bytes.Replace(good, []byte("0123 4"), []byte("0123 5"), 1), all, "changed after it was signed", false},
		{"wrong key", g.clearsign(text, []string{"other"}), all, "is not in the keyring of 7", false},
		{"expired key", g.clearsign(text, []string{"expired"}, past...), all, "the key has expired", false},
		{"expired subkey", g.clearsign(text, []string{oldSub + "!"}, past...), all, "the subkey has expired", false},
		{"revoked key", byRevoked, all, "the key has been revoked", false},
		{"key that may not sign any more", byCertOnly, all, "not meant for signing", false},
		{"critical notation", g.clearsign(text, []string{"good"}, "--sig-notation", "!odd@archive.example=1"), all, "condition that is not understood: odd@archive.example", false},
		{"SHA-1", g.clearsign(text, []string{"rsa"}, "--digest-algo", "SHA1"), all, "SHA-1 is too weak", false},
		{"short RSA", g.clearsign(text, []string{"short"}), all, "1024 bits is too weak", true},
		{"unsigned", text, all, "without a signature", false},
		{"empty", nil, all, "without a signature", false},
		{"cut in the text", good[:cut/2], all, "damaged or cut off", false},
		{"cut in the signature", good[:cut+80], all, "damaged or cut off", false},
		{"signature removed", good[:cut], all, "damaged or cut off", false},
		{"text before", append([]byte("Origin: Evil\n"), good...), all, "without a signature", true},
		{"text behind", append(bytes.Clone(good), "Origin: Evil\n"...), all, "behind its signature", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			plain, signer, err := authentic.VerifyInRelease(tc.signed, keyring(t, tc.keys), time.Now())
			if want := tc.reason == "" || tc.stricter; g.gpgv(tc.keys, tc.signed) != want {
				t.Errorf("gpgv says %v", !want)
			}
			if tc.reason != "" {
				if !fault.Is(err, fault.Untrusted) || !strings.Contains(err.Error(), tc.reason) || plain != nil || signer.Fingerprint != "" {
					t.Errorf("got %v, signer %+v, %d bytes of text", err, signer, len(plain))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(plain) != release {
				t.Errorf("text %q", plain)
			}
			if !strings.Contains(signer.UserID, "@archive.example") || now.Sub(signer.When).Abs() > time.Minute || len(signer.Fingerprint) != 40 || len(signer.Key) != 40 {
				t.Errorf("signer %+v", signer)
			}
		})
	}
	_, signer, err := authentic.VerifyInRelease(g.clearsign(text, []string{newSub + "!"}), keyring(t, all), time.Now())
	if err != nil || signer.Fingerprint != sub || signer.Key != newSub {
		t.Errorf("subkey: %+v %v", signer, err)
	}
}

// TestKeysAreJudgedAtNow moves the clock of the caller, which is the only one.
func TestKeysAreJudgedAtNow(t *testing.T) {
	g := newHome(t)
	now := time.Now()
	g.key("k", "ed25519", "sign", "1y")
	signed := g.clearsign([]byte(release), []string{"k"}, "--default-sig-expire", "30d")
	keys := keyring(t, g.export("k"))
	for _, tc := range []struct {
		name   string
		now    time.Time
		reason string
	}{
		{"today", now.Add(time.Minute), ""},
		{"before it was signed", now.AddDate(0, 0, -1), "in the future"},
		{"signature expired", now.AddDate(0, 0, 31), "the signature has expired"},
	} {
		_, _, err := authentic.VerifyInRelease(signed, keys, tc.now)
		if tc.reason == "" && err != nil || tc.reason != "" && (err == nil || !strings.Contains(err.Error(), tc.reason)) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	lasting := g.clearsign([]byte(release), []string{"k"})
	if _, _, err := authentic.VerifyInRelease(lasting, keys, now.AddDate(2, 0, 0)); err == nil || !strings.Contains(err.Error(), "the key has expired") {
		t.Errorf("in two years: %v", err)
	}
}

func TestOnly(t *testing.T) {
	g := newHome(t)
	a, b := g.key("a", "ed25519", "sign", "never"), g.key("b", "ed25519", "sign", "never")
	keys := keyring(t, g.export(a, b))
	signed := g.clearsign([]byte(release), []string{a})
	for _, tc := range []struct {
		only []string
		good bool
	}{{nil, true}, {[]string{a}, true}, {[]string{strings.ToLower(a) + "!"}, true}, {[]string{b, a}, true}, {[]string{b}, false}} {
		_, _, err := authentic.VerifyInRelease(signed, keys.Only(tc.only...), time.Now())
		if (err == nil) != tc.good {
			t.Errorf("only %v: %v", tc.only, err)
		}
		if err != nil && !strings.Contains(err.Error(), "may be signed only by "+b) {
			t.Errorf("only %v: %v", tc.only, err)
		}
	}
}

func TestDetached(t *testing.T) {
	g := newHome(t)
	g.key("a", "ed25519", "sign", "never")
	g.key("b", "rsa2048", "sign", "never")
	ring := g.export("a", "b")
	keys := keyring(t, ring)
	text := []byte(release)
	binary := g.gpg(text, "-u", "a", "--detach-sign")
	armored := g.gpg(text, "-u", "b", "-u", "a", "--armor", "--detach-sign")
	textual := g.gpg(text, "-u", "a", "--textmode", "--detach-sign")
	changed := bytes.Replace(text, []byte("stable"), []byte("stabel"), 1)
	for _, tc := range []struct {
		name         string
		content, sig []byte
		reason       string
	}{
		{"binary", text, binary, ""},
		{"armored, two", text, armored, ""},
		{"text mode", text, textual, ""},
		{"changed", changed, binary, "changed after it was signed"},
		{"changed, two", changed, armored, "changed after it was signed"},
		{"signature cut", text, binary[:len(binary)-5], "damaged"},
		{"armor cut", text, armored[:len(armored)/2], "damaged"},
		{"no signature", text, nil, "it holds none"},
		{"a key instead", text, g.gpg(nil, "--armor", "--export", "a"), "damaged"},
		{"html", text, []byte("<html>not found</html>"), "damaged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			signer, err := authentic.VerifyDetached(bytes.NewReader(tc.content), tc.sig, keys, time.Now())
			if good := g.gpgv(ring, tc.sig, tc.content); good != (tc.reason == "") {
				t.Errorf("gpgv says %v", good)
			}
			if tc.reason == "" && (err != nil || signer.Fingerprint == "") {
				t.Errorf("%+v %v", signer, err)
			}
			if tc.reason != "" && (!fault.Is(err, fault.Untrusted) || !strings.Contains(err.Error(), tc.reason)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestKeyrings(t *testing.T) {
	g := newHome(t)
	a, b := g.key("a", "ed25519", "sign", "never"), g.key("b", "ed25519", "sign", "never")
	armor := func(name string) []byte { return g.gpg(nil, "--armor", "--export", name) }
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, data := range map[string][]byte{
		"binary": g.export(a, b), "armored": g.gpg(nil, "--armor", "--export", a, b),
		"two blocks": append(append([]byte("a comment\n"), armor(a)...), armor(b)...),
	} {
		if got := strings.Join(keyring(t, data).Fingerprints(), " "); got != a+" "+b && got != b+" "+a {
			t.Errorf("%s: %s", name, got)
		}
	}
	write("a.gpg", g.export(a))
	write("b.asc", armor(b))
	write("README", []byte("no key"))
	k, err := authentic.LoadKeyrings(dir)
	if err != nil || k.Len() != 2 {
		t.Errorf("folder: %d keys, %v", k.Len(), err)
	}
	kbx, err := os.ReadFile(filepath.Join(g.dir, "pubring.kbx"))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"keybox": kbx, "empty": nil, "text": []byte("hello"), "html": []byte("<html>"), "cut": g.export(a)[:20],
		"cut armor": armor(a)[:100], "secret": g.gpg(nil, "--armor", "--export-secret-keys", a),
	} {
		if _, err := authentic.ParseKeyring(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := authentic.LoadKeyrings(write("bad", bad)); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "bad") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := authentic.LoadKeyrings(filepath.Join(dir, "none.gpg")); !fault.Is(err, fault.NotFound) {
		t.Errorf("missing: %v", err)
	}
}

// TestRealArchive checks Debian's own signed indexes, where this workplace has them.
func TestRealArchive(t *testing.T) {
	dir := "../../../shared/feeds/debian/archive-index"
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no real indexes beside the repository: %v", err)
	}
	keys, err := authentic.LoadKeyrings(filepath.Join(dir, "debian-archive-keyring.gpg"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	files, err := filepath.Glob(filepath.Join(dir, "*InRelease"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		plain, signer, err := authentic.VerifyInRelease(data, keys, now)
		if err != nil || !bytes.HasPrefix(plain, []byte("Origin: Debian\n")) || !strings.Contains(signer.UserID, "Debian") {
			t.Errorf("%s: %+v %v", filepath.Base(f), signer, err)
		}
		for _, i := range []int{200, len(data) / 2} {
			bad := bytes.Clone(data)
			bad[i] ^= 1
			if _, _, err := authentic.VerifyInRelease(bad, keys, now); !fault.Is(err, fault.Untrusted) {
				t.Errorf("%s with a flipped bit at %d: %v", filepath.Base(f), i, err)
			}
		}
	}
}

func TestChecksum(t *testing.T) {
	data := []byte("payload")
	sum := sha256.Sum256(data)
	good := hex.EncodeToString(sum[:])
	for _, tc := range []struct {
		name, sum string
		size      int64
		code      fault.Code
		text      string
	}{
		{"good", good, 7, "", ""},
		{"upper case", strings.ToUpper(good), 7, "", ""},
		{"size not known", good, -1, "", ""},
		{"longer", good, 6, fault.Untrusted, "longer than the 6 bytes"},
		{"shorter", good, 8, fault.Untrusted, "7 bytes where 8"},
		{"another", strings.Repeat("0", 64), 7, fault.Untrusted, "instead of 0000"},
		{"no sum", "", 7, fault.Invalid, "no SHA-256"},
		{"half a sum", good[:32], 7, fault.Invalid, "no SHA-256"},
	} {
		err := authentic.Checksum(bytes.NewReader(data), tc.sum, tc.size)
		if fault.CodeOf(err) != tc.code || err != nil && !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if err := authentic.Checksum(iotest.ErrReader(os.ErrClosed), good, 7); !fault.Is(err, fault.Unavailable) {
		t.Errorf("unreadable: %v", err)
	}
}

func FuzzVerifyInRelease(f *testing.F) {
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\ntext\n-----BEGIN PGP SIGNATURE-----\n\nwsBz\n-----END PGP SIGNATURE-----\n"), []byte{0x99, 1, 2})
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----"), []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n"))
	f.Fuzz(func(t *testing.T, signed, ring []byte) {
		keys, err := authentic.ParseKeyring(ring)
		if err != nil && keys.Len() > 0 && !fault.Is(err, fault.Invalid) {
			t.Fatal(err)
		}
		plain, _, err := authentic.VerifyInRelease(signed, authentic.Keyring{}, time.Unix(1e9, 0))
		if err == nil || plain != nil {
			t.Fatalf("an empty keyring vouched for %q", plain)
		}
		if _, err := authentic.VerifyDetached(bytes.NewReader(signed), ring, keys, time.Unix(1e9, 0)); err == nil {
			t.Fatal("bytes made by a fuzzer verified")
		}
	})
}
