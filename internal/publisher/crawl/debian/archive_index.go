package debian

import (
	"context"
	"io"
	"os"
	"path"

	"github.com/klauspost/compress/gzip"
	"github.com/ulikunitz/xz"

	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// wanted lists the indexes of the configured components and architectures.
// Where the archive keeps packages for all architectures apart, so do we.
func (a *Archive) wanted(dir string, rel Release) []indexSource {
	arches := append([]string{}, a.cfg.Architectures...)
	if !rel.NoArchAll {
		for _, arch := range rel.Architectures {
			if arch == "all" {
				arches = append(arches, "all")
			}
		}
	}
	var out []indexSource
	for _, component := range a.cfg.Components {
		for _, arch := range arches {
			name := component + "/binary-" + arch + "/Packages"
			if _, ok := rel.Files[name]; !ok && arch == "all" {
				continue
			}
			out = append(out, indexSource{
				name: name, component: component, arch: arch,
				open: func(ctx context.Context, _ ReleaseFile) (io.ReadCloser, error) {
					return a.openIndex(ctx, dir, rel, name)
				},
			})
		}
	}
	return out
}

// openIndex fetches the smallest form of an index that the archive signs and
// unpacks it. The packed form is checked by its own hash on the way in.
func (a *Archive) openIndex(ctx context.Context, dir string, rel Release, name string) (io.ReadCloser, error) {
	var missing error
	for _, ext := range []string{".xz", ".gz", ""} {
		file, ok := rel.Files[name+ext]
		if !ok {
			continue
		}
		at := a.dists(name + ext)
		if rel.ByHash {
			at = a.dists(path.Dir(name), "by-hash", "SHA256", file.SHA256)
		}
		a.opt.Progress("fetching " + a.cfg.Suite + " " + name)
		to := crawl.BlobPath(dir, ".part-"+file.SHA256)
		if file.Size > maxIndex {
			return nil, fault.New(fault.Exhausted, "debian: index %s of %s has %d bytes, at most %d are taken", name, a.cfg.Suite, file.Size, maxIndex)
		}
		err := a.client.Download(ctx, fetch.Request{URL: at}, to, file.SHA256, file.Size)
		if fault.Is(err, fault.NotFound) {
			missing = err // some archives sign forms that they do not offer
			continue
		}
		if err != nil {
			return nil, fault.Wrap(err, fault.CodeOf(err), "debian: index %s of %s can't be fetched", name, a.cfg.Suite)
		}
		return unpackFile(to, ext, file)
	}
	if missing != nil {
		return nil, fault.Wrap(missing, fault.NotFound, "debian: index %s of %s can't be fetched", name, a.cfg.Suite)
	}
	return nil, fault.New(fault.Unsupported, "debian: %s offers the index %s in no form that is understood (xz, gz, plain)", a.cfg.Suite, name)
}

// unpackFile proves a fetched file by hash and opens it unpacked. Closing it
// removes the file.
func unpackFile(at, ext string, want ReleaseFile) (io.ReadCloser, error) {
	f, err := os.Open(at)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "debian: the fetched index can't be read")
	}
	out := &unpacked{file: f}
	if err := authentic.Checksum(f, want.SHA256, want.Size); err != nil {
		_ = out.Close()
		return nil, fault.Wrap(err, fault.Untrusted, "debian: the fetched index is refused")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		_ = out.Close()
		return nil, fault.Wrap(err, fault.Unavailable, "debian: the fetched index can't be read")
	}
	switch ext {
	case ".xz":
		out.Reader, err = xz.NewReader(f)
	case ".gz":
		out.Reader, err = gzip.NewReader(f)
	default:
		out.Reader = f
	}
	if err != nil {
		_ = out.Close()
		return nil, fault.Wrap(err, fault.Untrusted, "debian: the fetched index can't be unpacked")
	}
	return out, nil
}

type unpacked struct {
	io.Reader
	file *os.File
}

func (u *unpacked) Close() error {
	err := u.file.Close()
	_ = os.Remove(u.file.Name()) // best effort: the next sweep of the folder misses dot files on purpose
	return err
}
