package publisher

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

// KeyStatus is one key file that the publisher can use.
type KeyStatus struct {
	Role repo.Role `json:"role"`
	ID   string    `json:"id"`
}

// Keys lists the keys at hand, daily ones and root keys, and when the root
// keys must have signed again.
func (p *Publisher) Keys() (keys []KeyStatus, rootExpires time.Time, err error) {
	all, err := p.keysAtHand()
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, k := range all {
		keys = append(keys, KeyStatus{k.Role(), k.ID()})
	}
	p.filing.Lock()
	defer p.filing.Unlock()
	return keys, p.repo.RootExpires(), nil
}

// RenewRoot lets the root keys sign a new version of root with a fresh expiry.
func (p *Publisher) RenewRoot(ctx context.Context) error {
	root, err := p.rootKeys()
	if err != nil {
		return err
	}
	p.filing.Lock()
	defer p.filing.Unlock()
	return p.repo.RenewRoot(ctx, p.now(), root)
}

// RotateKey replaces one key of a role by a new one: the one named, or the
// only one when id is empty. The new key is saved before anything is signed;
// the old file stays where it is, of no more use. Machines follow by
// themselves: the new root is signed by the old root keys too.
func (p *Publisher) RotateKey(ctx context.Context, role repo.Role, id string) (added string, err error) {
	old, err := p.keyToRetire(role, id)
	if err != nil {
		return "", err
	}
	root, err := p.rootKeys()
	if err != nil {
		return "", err
	}
	fresh, err := publish.NewKey(role)
	if err != nil {
		return "", err
	}
	dir, pass := p.cfg.Keys, p.cfg.Passphrase
	if role == repo.Root {
		dir, pass = p.rootFolder(), p.cfg.RootPassphrase
	}
	path, err := fresh.Save(dir, []byte(pass))
	if err != nil {
		return "", err
	}
	p.filing.Lock()
	defer p.filing.Unlock()
	err = p.repo.RotateKey(ctx, p.now(), publish.Rotation{Role: role, Add: []publish.Key{fresh}, Retire: []string{old.ID()}}, root)
	if err != nil {
		_ = os.Remove(path) // it signs nothing
		return "", err
	}
	return fresh.ID(), retire(old)
}

// retire takes the old key's file out of the keys that are read, and keeps it.
func retire(k heldKey) error {
	if err := os.Rename(k.path, k.path+".retired"); err != nil {
		return fault.Wrap(err, fault.Unavailable, "publisher: the retired key's file %s can't be renamed", k.path)
	}
	return nil
}

func (p *Publisher) keyToRetire(role repo.Role, id string) (heldKey, error) {
	all, err := p.keysAtHand()
	if err != nil {
		return heldKey{}, err
	}
	var found []heldKey
	for _, k := range all {
		if k.Role() == role && (id == "" || k.ID() == id) {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return heldKey{}, fault.New(fault.NotFound, "publisher: no key of role %s %s is at hand", role, id).
			WithHint("'fettle publisher keys' lists the keys at hand; root keys may lie elsewhere (root_keys)")
	}
	return heldKey{}, fault.New(fault.Invalid, "publisher: role %s has %d keys", role, len(found)).
		WithHint("name the one to retire with --key; 'fettle publisher keys' lists them")
}

func (p *Publisher) rootFolder() string { return cmp.Or(p.cfg.RootKeys, p.cfg.Keys) }

// keysAtHand reads the daily keys and, where they are here, the root keys.
func (p *Publisher) keysAtHand() ([]heldKey, error) {
	daily, err := keysIn(p.cfg.Keys, p.cfg.Passphrase, false)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.rootFolder()); errors.Is(err, fs.ErrNotExist) {
		return daily, nil // root keys are meant to be elsewhere
	}
	root, err := keysIn(p.rootFolder(), p.cfg.RootPassphrase, true)
	return append(daily, root...), err
}

func (p *Publisher) rootKeys() ([]publish.Key, error) {
	if _, err := os.Stat(p.rootFolder()); err == nil {
		root, err := keysIn(p.rootFolder(), p.cfg.RootPassphrase, true)
		if err != nil || len(root) > 0 {
			return bare(root), err
		}
	}
	return nil, fault.New(fault.NotFound, "publisher: no root key is at hand").
		WithHint("bring the folder of the root keys here and name it as root_keys; take it away again afterwards")
}

// heldKey is a key with the file that it was read from.
type heldKey struct {
	publish.Key
	path string
}

func bare(held []heldKey) []publish.Key {
	keys := make([]publish.Key, 0, len(held))
	for _, k := range held {
		keys = append(keys, k.Key)
	}
	return keys
}

// keysIn reads the key files of a folder: those of root, or all others.
func keysIn(dir, passphrase string, root bool) ([]heldKey, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "publisher: the folder of signing keys can't be read").
			WithHint("Without the keys the repository can't be signed again. Restore them from your copy.")
	}
	var keys []heldKey
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".key.json") || strings.HasPrefix(e.Name(), string(repo.Root)+"-") != root {
			continue
		}
		path := filepath.Join(dir, e.Name())
		k, err := publish.LoadKey(path, []byte(passphrase))
		if err != nil {
			return nil, err
		}
		keys = append(keys, heldKey{k, path})
	}
	return keys, nil
}
