package authentic

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/fettlehq/fettle/internal/fault"
)

const maxKeyring = 32 << 20

// Keyring is a set of OpenPGP certificates that may sign. The zero value trusts nobody.
type Keyring struct {
	entities openpgp.EntityList
	only     []string // when set: the fingerprints that may sign
}

// ParseKeyring reads certificates, binary or armored (several armored blocks may follow each other). A key of a kind
// that is not understood is left out, as gpgv does. Errors: fault.Invalid when there is none left or it is no keyring.
func ParseKeyring(data []byte) (Keyring, error) {
	if len(data) > 12 && bytes.Equal(data[8:12], []byte("KBXf")) {
		return Keyring{}, fault.New(fault.Invalid, "authentic: this is GnuPG's keybox format, which apt does not read either").WithHint("export the keys with: gpg --no-default-keyring --keyring FILE --export")
	}
	var k Keyring
	if bytes.HasPrefix(data, []byte("-----")) || bytes.Contains(data, []byte("-----BEGIN PGP")) {
		return k, k.addArmored(data)
	}
	entities, err := openpgp.ReadKeyRing(bytes.NewReader(data))
	if err != nil || len(entities) == 0 {
		return k, fault.Wrap(err, fault.Invalid, "authentic: no usable keyring")
	}
	k.entities = entities
	return k, nil
}

func (k *Keyring) addArmored(data []byte) error {
	r := bufio.NewReader(bytes.NewReader(data)) // armor.Decode goes on reading where it stopped only with a bufio.Reader
	for {
		block, err := armor.Decode(r)
		if errors.Is(err, io.EOF) && len(k.entities) > 0 {
			return nil
		}
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "authentic: no usable keyring")
		}
		if block.Type != openpgp.PublicKeyType {
			return fault.New(fault.Invalid, "authentic: a keyring holds a %s", strings.ToLower(block.Type))
		}
		body, err := io.ReadAll(block.Body)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "authentic: a damaged key block")
		}
		entities, err := openpgp.ReadKeyRing(bytes.NewReader(body))
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "authentic: no usable key")
		}
		k.entities = append(k.entities, entities...)
	}
}

// LoadKeyrings reads keyring files and, of folders, the *.gpg and *.asc files in them. Errors: fault.NotFound or
// fault.Invalid with the path of the file that is at fault.
func LoadKeyrings(paths ...string) (Keyring, error) {
	var all Keyring
	for _, p := range paths {
		files := []string{p}
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			files = nil
			for _, ext := range []string{"*.gpg", "*.asc"} {
				m, err := filepath.Glob(filepath.Join(p, ext))
				if err != nil {
					return all, fault.Wrap(err, fault.Invalid, "authentic: can't list the keyrings in %s", p)
				}
				files = append(files, m...)
			}
		}
		for _, f := range files {
			k, err := loadFile(f)
			if err != nil {
				return all, err
			}
			all = all.With(k)
		}
	}
	return all, nil
}

func loadFile(path string) (Keyring, error) {
	f, err := os.Open(path)
	if err != nil {
		return Keyring{}, fault.Wrap(err, fault.NotFound, "authentic: can't open the keyring %s", path)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyring+1))
	if err != nil || len(data) > maxKeyring {
		return Keyring{}, fault.Wrap(err, fault.Invalid, "authentic: can't read the keyring %s", path)
	}
	k, err := ParseKeyring(data)
	if err != nil {
		return k, fault.Wrap(err, fault.Invalid, "authentic: keyring %s", path)
	}
	return k, nil
}

// With returns a keyring that has the certificates of both.
func (k Keyring) With(other Keyring) Keyring {
	return Keyring{entities: append(slices.Clip(k.entities), other.entities...), only: append(slices.Clip(k.only), other.only...)}
}

// Only returns a keyring that accepts signatures only by these fingerprints (hex): of a certificate, meaning any of its
// signing keys, or of one signing key. A "!" behind a fingerprint, as in Signed-By of sources.list(5), demands the very
// key. No fingerprints means no restriction.
func (k Keyring) Only(fingerprints ...string) Keyring {
	k.only = nil
	for _, f := range fingerprints {
		k.only = append(k.only, strings.ToUpper(f))
	}
	return k
}

// allows applies Only.
func (k Keyring) allows(primary, key string) bool {
	for _, o := range k.only {
		if o == key || o == key+"!" || o == primary {
			return true
		}
	}
	return len(k.only) == 0
}

// Len returns the number of certificates.
func (k Keyring) Len() int { return len(k.entities) }

// Fingerprints returns the upper-case hex fingerprints of the certificates, in their order.
func (k Keyring) Fingerprints() []string {
	out := make([]string, len(k.entities))
	for i, e := range k.entities {
		out[i] = fingerprint(e.PrimaryKey.Fingerprint)
	}
	return out
}

func fingerprint(b []byte) string { return fmt.Sprintf("%X", b) }
