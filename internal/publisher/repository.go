package publisher

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

// openRepository opens the repository, or makes it with its keys when its
// folder holds none.
func (p *Publisher) openRepository(ctx context.Context) (*publish.Repository, error) {
	options := publish.Options{Expiry: p.cfg.Expiry}
	_, err := os.Stat(filepath.Join(p.cfg.Repository, filepath.FromSlash(repo.MetadataPath(repo.Root, 1))))
	if errors.Is(err, fs.ErrNotExist) {
		return publish.Init(ctx, p.cfg.Repository, p.cfg.Keys, p.now(), publish.Setup{
			Options: options, RootKeysDir: p.cfg.RootKeys,
			Passphrase: []byte(p.cfg.Passphrase), RootPassphrase: []byte(p.cfg.RootPassphrase),
		})
	}
	keys, err := p.dailyKeys()
	if err != nil {
		return nil, err
	}
	return publish.Open(p.cfg.Repository, keys, options)
}

// dailyKeys loads the keys of targets, snapshot and timestamp. Root keys stay
// closed, so that their passphrase is not needed.
func (p *Publisher) dailyKeys() ([]publish.Key, error) {
	held, err := keysIn(p.cfg.Keys, p.cfg.Passphrase, false)
	if err != nil {
		return nil, err
	}
	return bare(held), nil
}

// RootFingerprint is what customers pin; see repo.RootFingerprint.
func (p *Publisher) RootFingerprint() (string, error) {
	p.filing.Lock()
	defer p.filing.Unlock()
	root, err := p.repo.RootJSON()
	if err != nil {
		return "", err
	}
	return repo.RootFingerprint(root)
}

// storeBlobs brings the vendors' signed files and indexes that the shards pin
// into the payload store.
func (p *Publisher) storeBlobs(ctx context.Context, b *batch) error {
	for _, s := range b.shards {
		for _, a := range s.Header.Archives {
			for _, blob := range blobsOf(a) {
				if err := p.storeBlob(ctx, b.results, blob); err != nil {
					return fault.Wrap(err, fault.CodeOf(err), "publisher: %s", a.Path)
				}
			}
		}
	}
	return nil
}

func blobsOf(a catalog.Archive) []catalog.Blob {
	out := []catalog.Blob{a.InRelease}
	for _, ix := range a.Indexes {
		out = append(out, ix.Blob)
	}
	return out
}

func (p *Publisher) storeBlob(ctx context.Context, results []crawl.Result, blob catalog.Blob) error {
	if size, err := p.repo.HasPayload(blob.SHA256); err == nil && size == blob.Size {
		return nil
	}
	for _, r := range results {
		src, err := r.Output.OpenBlob(blob.SHA256)
		if err != nil {
			continue
		}
		err = p.file(ctx, src, blob.SHA256)
		_ = src.Close() // only read from
		return err
	}
	return fault.New(fault.NotFound, "publisher: no source has the vendor's file %s", blob.SHA256)
}

// file stores bytes as a payload if they have the hash.
func (p *Publisher) file(ctx context.Context, src io.Reader, want string) error {
	f, err := p.repo.AddPayload(ctx, src)
	if err != nil {
		return err
	}
	if f.SHA256 == want {
		return nil
	}
	if err := p.repo.RemovePayload(f.SHA256); err != nil {
		return err
	}
	return fault.New(fault.Untrusted, "publisher: a file is refused: its SHA-256 is %s and not %s", f.SHA256, want)
}
