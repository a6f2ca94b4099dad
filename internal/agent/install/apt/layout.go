package apt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// archives returns the snapshots that the task needs: all current ones, and
// superseded ones that hold one of its patches. Shards of several
// architectures name a snapshot each with their own indexes; here they are
// one.
func (w *workspace) archives() []catalog.Archive {
	var out []catalog.Archive
	for _, a := range w.job.Archives {
		if a.Superseded && !slices.ContainsFunc(w.job.Patches, func(p patch.Patch) bool { return holds(p, a.ID) }) {
			continue
		}
		at := slices.IndexFunc(out, func(o catalog.Archive) bool { return o.ID == a.ID })
		if at < 0 {
			a.Indexes = slices.Clone(a.Indexes)
			out = append(out, a)
			continue
		}
		for _, ix := range a.Indexes {
			if !slices.ContainsFunc(out[at].Indexes, func(o catalog.Index) bool { return o.Name == ix.Name }) {
				out[at].Indexes = append(out[at].Indexes, ix)
			}
		}
	}
	return out
}

func holds(p patch.Patch, archive string) bool {
	return slices.Contains(p.Archives, archive) ||
		slices.ContainsFunc(p.Items, func(it patch.Item) bool { return slices.Contains(it.Archives, archive) })
}

// archiveIDs names the archives and their indexes, sorted.
func archiveIDs(all []catalog.Archive) []string {
	var ids []string
	for _, a := range all {
		ids = append(ids, a.ID)
		for _, ix := range a.Indexes {
			ids = append(ids, a.ID+" "+ix.Name)
		}
	}
	slices.Sort(ids)
	return ids
}

// layOut writes the local archives, the source list and apt's configuration.
func (w *workspace) layOut(ctx context.Context, archives []catalog.Archive) error {
	if err := os.RemoveAll(w.dir); err != nil {
		return fault.Wrap(err, fault.Internal, "apt: empty the work folder")
	}
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "sources"} {
		if err := os.MkdirAll(w.path(sub), 0o755); err != nil {
			return fault.Wrap(err, diskCode(err), "apt: make the work folder")
		}
	}
	for _, a := range archives {
		if err := w.layOutArchive(ctx, a); err != nil {
			return err
		}
	}
	return w.writeConfig()
}

func (w *workspace) layOutArchive(ctx context.Context, a catalog.Archive) error {
	base := filepath.Join("archives", a.ID)
	if err := w.place(ctx, a.InRelease, a.InRelease.Size, filepath.Join(base, "dists", filepath.FromSlash(a.Path), "InRelease")); err != nil {
		return err
	}
	for _, ix := range a.Indexes {
		name := filepath.Join(base, "dists", filepath.FromSlash(a.Path), filepath.FromSlash(ix.Name))
		if err := w.place(ctx, ix.Blob, ix.Size, name); err != nil {
			return err
		}
	}
	text := w.source(a)
	if err := os.WriteFile(w.path("sources", a.ID+".sources"), []byte(text), 0o644); err != nil {
		return fault.Wrap(err, diskCode(err), "apt: write the source list")
	}
	return nil
}

// source is the deb822 source of one snapshot. The machine's own keyring
// decides: where the publisher's keyring file does not exist here, apt's
// trusted set does.
func (w *workspace) source(a catalog.Archive) string {
	var components, archs []string
	for _, ix := range a.Indexes {
		components, archs = append(components, ix.Component), append(archs, ix.Arch)
	}
	text := fmt.Sprintf("Types: deb\nTargets: Packages\nURIs: file:%s\nSuites: %s\n", w.path("archives", a.ID), a.Path)
	if !strings.HasSuffix(a.Path, "/") {
		text += "Components: " + strings.Join(unique(components), " ") + "\n"
	}
	archs = slices.DeleteFunc(unique(archs), func(s string) bool { return s == "all" || s == "" })
	if len(archs) > 0 {
		text += "Architectures: " + strings.Join(archs, " ") + "\n"
	}
	if keyringHere(a.Keyring) {
		text += "Signed-By: " + a.Keyring + "\n"
	}
	return text
}

func unique(in []string) []string {
	slices.Sort(in)
	return slices.Compact(in)
}

// place puts a payload's bytes, decompressed where needed, at a name below the
// work folder. Names come from the signed catalog; os.Root keeps them inside
// all the same.
func (w *workspace) place(ctx context.Context, b catalog.Blob, size int64, name string) error {
	from, err := w.job.Payload(ctx, b.SHA256)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "apt: payload for %s", filepath.Base(name))
	}
	root, err := os.OpenRoot(w.dir)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "apt: open the work folder")
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fault.Wrap(err, diskCode(err), "apt: make a folder for %s", name)
	}
	return copyInto(root, name, from, b.Encoding, size)
}

// copyInto writes size bytes, and one more if there are: apt then refuses the
// file by its hash, and a bomb fills no disk.
func copyInto(root *os.Root, name, from, encoding string, size int64) error {
	src, err := os.Open(from)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "apt: open payload")
	}
	defer src.Close()
	var in io.Reader = src
	if encoding == "zstd" {
		z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return fault.Wrap(err, fault.Internal, "apt: decompress %s", name)
		}
		defer z.Close()
		in = z
	}
	dst, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fault.Wrap(err, diskCode(err), "apt: create %s", name)
	}
	_, err = io.Copy(dst, io.LimitReader(in, size+1))
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fault.Wrap(err, diskCode(err), "can't lay out %s in the work folder; nothing was changed", filepath.Base(name))
	}
	return nil
}

// diskCode tells a full disk from other defects.
func diskCode(err error) fault.Code {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Exhausted
	}
	return fault.Internal
}
