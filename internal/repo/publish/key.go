package publish

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// keySuffix ends the name of every private key file.
const keySuffix = ".key.json"

// Key is a private signing key. It prints as its public id only.
type Key struct {
	role    repo.Role
	id      string
	public  *metadata.Key
	private ed25519.PrivateKey
}

// keyFile is the form of a key on disk. Either Seed or Sealed is set.
type keyFile struct {
	Type   string          `json:"type"`
	Role   repo.Role       `json:"role"`
	ID     string          `json:"id"`
	Seed   []byte          `json:"seed,omitempty"`
	Sealed json.RawMessage `json:"sealed,omitempty"`
}

// NewKey makes an ed25519 key for a role.
func NewKey(role repo.Role) (Key, error) {
	if !role.Valid() {
		return Key{}, fault.New(fault.Invalid, "publish: there is no role %q", role)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fault.Wrap(err, fault.Internal, "publish: no key could be generated")
	}
	return keyFrom(role, private)
}

func keyFrom(role repo.Role, private ed25519.PrivateKey) (Key, error) {
	public, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		return Key{}, fault.Wrap(err, fault.Internal, "publish: the public key cannot be encoded")
	}
	id, err := public.ID()
	if err != nil {
		return Key{}, fault.Wrap(err, fault.Internal, "publish: the public key cannot be hashed")
	}
	return Key{role: role, id: id, public: public, private: private}, nil
}

// ID returns the TUF key id: the SHA-256 of the canonical public key, in hex.
func (k Key) ID() string { return k.id }

// Role returns the role that the key was made for.
func (k Key) Role() repo.Role { return k.role }

// String names the key without its secret.
func (k Key) String() string { return string(k.role) + " key " + short(k.id) }

// GoString is String, so that %#v does not print the secret either.
func (k Key) GoString() string { return k.String() }

// Save writes the key to DIR/ROLE-ID.key.json with mode 0600 and returns that
// path. With a passphrase the seed is sealed with NaCl secretbox under a key
// that scrypt (N 2^17, r 8, p 1) derives; without one it is stored plainly.
// An existing file is never replaced: that gives fault.Conflict.
func (k Key) Save(dir string, passphrase []byte) (string, error) {
	file := keyFile{Type: metadata.KeyTypeEd25519, Role: k.role, ID: k.id}
	if len(passphrase) > 0 {
		sealed, err := encrypted.EncryptWithCustomKDFParameters(k.private.Seed(), passphrase, encrypted.OWASP)
		if err != nil {
			return "", fault.Wrap(err, fault.Internal, "publish: the %s cannot be sealed", k)
		}
		file.Sealed = sealed
	} else {
		file.Seed = k.private.Seed()
	}
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "publish: the %s cannot be encoded", k)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "publish: the key folder %s cannot be made", dir)
	}
	path := filepath.Join(dir, string(k.role)+"-"+short(k.id)+keySuffix)
	if _, err := os.Lstat(path); err == nil {
		return "", fault.New(fault.Conflict, "publish: the key file %s exists already", path)
	}
	if err := atomicfile.Write(path, append(data, '\n'), 0o600); err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "publish: the %s cannot be saved", k)
	}
	return path, nil
}

// LoadKey reads a key file. It returns fault.NotFound when there is none,
// fault.Denied when the passphrase is missing or wrong, fault.Untrusted when
// other users may read the file (POSIX modes only) or it is damaged.
func LoadKey(path string, passphrase []byte) (Key, error) {
	data, err := readSecret(path)
	if err != nil {
		return Key{}, err
	}
	var file keyFile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil || file.Type != metadata.KeyTypeEd25519 || !file.Role.Valid() {
		return Key{}, fault.Wrap(err, fault.Untrusted, "publish: %s is no key file", path)
	}
	seed := file.Seed
	if len(file.Sealed) > 0 {
		if seed, err = unseal(path, file.Sealed, passphrase); err != nil {
			return Key{}, err
		}
	}
	if len(seed) != ed25519.SeedSize {
		return Key{}, fault.New(fault.Untrusted, "publish: the key in %s has %d bytes, not %d", path, len(seed), ed25519.SeedSize)
	}
	key, err := keyFrom(file.Role, ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return Key{}, err
	}
	if key.id != file.ID {
		return Key{}, fault.New(fault.Untrusted, "publish: the key in %s is not the one that the file names", path)
	}
	return key, nil
}

// LoadKeys reads every key file of a folder, in the order of their names. A
// folder without key files gives no keys and no error.
func LoadKeys(dir string, passphrase []byte) ([]Key, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.Wrap(err, codeFor(err), "publish: the key folder %s cannot be read", dir)
	}
	var keys []Key
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), keySuffix) {
			continue
		}
		key, err := LoadKey(filepath.Join(dir, e.Name()), passphrase)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.Wrap(err, codeFor(err), "publish: the key file %s cannot be read", path)
	}
	if exposed(info) {
		return nil, fault.New(fault.Untrusted, "publish: other users may read the key file %s (mode %04o)", path, info.Mode().Perm()).
			WithHint("If nobody has read it: chmod 600 %s. Otherwise rotate the key.", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, codeFor(err), "publish: the key file %s cannot be read", path)
	}
	return data, nil
}

func unseal(path string, sealed, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, fault.New(fault.Denied, "publish: the key file %s is sealed and needs its passphrase", path)
	}
	seed, err := encrypted.Decrypt(sealed, passphrase)
	if err != nil {
		return nil, fault.Wrap(err, fault.Denied, "publish: the passphrase does not open the key file %s", path)
	}
	return seed, nil
}

// signer gives go-tuf what it signs with.
func (k Key) signer() (signature.Signer, error) {
	s, err := signature.LoadED25519Signer(k.private)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "publish: the %s cannot sign", k)
	}
	return s, nil
}

// short is the part of a key id that people compare.
func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
