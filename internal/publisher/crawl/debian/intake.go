package debian

import (
	"context"
	"io"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
)

// Options are common to both kinds of source.
type Options struct {
	// Keep is for how long superseded snapshots stay; 0 means 30 days.
	Keep time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Progress is told what goes on, often; it may be nil.
	Progress func(doing string)
	// Names knows releases by their code names; nil knows none.
	Names Names
}

// Names gives the number by which machines of a vendor's release call
// themselves (VERSION_ID of os-release), such as "12" for "debian" and
// "bookworm"; empty when it does not know for certain.
type Names func(vendor, codename string) string

func (o Options) withDefaults() Options {
	if o.Keep == 0 {
		o.Keep = 30 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Names == nil {
		o.Names = func(string, string) string { return "" }
	}
	return o
}

// indexSource is one index of a suite that is wanted, and how to get at its
// unpacked bytes.
type indexSource struct {
	name, component, arch string
	open                  func(ctx context.Context, signed ReleaseFile) (io.ReadCloser, error)
}

// intake brings the indexes of a proven InRelease into dir. An index that a
// known snapshot holds already is not read again. Indexes that InRelease does
// not sign are refused.
func intake(ctx context.Context, dir string, s signed, known []snapshot, wanted []indexSource) (catalog.Archive, error) {
	a := s.archive
	var err error
	if a.InRelease, err = storeRaw(dir, s.raw); err != nil {
		return a, err
	}
	have := map[string]catalog.Blob{}
	for _, k := range known {
		for _, ix := range k.Archive.Indexes {
			have[ix.SHA256] = ix.Blob
		}
	}
	for _, w := range wanted {
		file, ok := s.release.Files[w.name]
		if !ok {
			return a, fault.New(fault.Untrusted, "debian: %s/InRelease does not sign the index %s", a.Path, w.name)
		}
		blob, ok := have[file.SHA256]
		if !ok {
			if blob, err = fetchIndex(ctx, dir, w, file); err != nil {
				return a, err
			}
			have[file.SHA256] = blob
		}
		a.Indexes = append(a.Indexes, catalog.Index{
			Name: w.name, Component: w.component, Arch: w.arch, SHA256: file.SHA256, Size: file.Size, Blob: blob,
		})
	}
	return a, nil
}

func fetchIndex(ctx context.Context, dir string, w indexSource, file ReleaseFile) (catalog.Blob, error) {
	src, err := w.open(ctx, file)
	if err != nil {
		return catalog.Blob{}, err
	}
	defer src.Close()
	return storeIndex(ctx, dir, src, file, w.name)
}
