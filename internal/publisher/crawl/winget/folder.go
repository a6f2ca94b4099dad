package winget

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// maxFiles bounds what is searched in a folder. A clone of winget-pkgs has some
// 600,000 files.
const maxFiles = 2_000_000

// manifests reads the followed manifests from wherever they are.
func (f *fetching) manifests(ctx context.Context) (folded, error) {
	if err := f.index(ctx); err != nil {
		return folded{}, err
	}
	if f.s.base != "" {
		return f.remote(ctx)
	}
	f.say("reading the folder of manifests")
	root, err := os.OpenRoot(f.s.folder)
	if err != nil {
		return folded{}, fault.Wrap(err, fault.NotFound, "winget: the folder of manifests %s can't be opened", f.s.folder)
	}
	defer root.Close()
	out, err := readFolder(ctx, root.FS(), f.s.follow)
	if err != nil {
		return folded{}, err
	}
	if out.Files == 0 {
		return folded{}, fault.New(fault.NotFound, "winget: the folder %s holds no manifest of the packages that are named", f.s.folder).
			WithHint("winget.packages names identifiers such as Mozilla.Firefox; manifests are files such as Mozilla.Firefox.installer.yaml.")
	}
	return out, nil
}

// readFolder searches a folder. One bad file is rejected and spoils no other.
func readFolder(ctx context.Context, in fs.FS, wanted follow) (folded, error) {
	var out folded
	var docs []Document
	seen := 0
	err := fs.WalkDir(in, ".", func(name string, e fs.DirEntry, err error) error {
		if seen++; seen > maxFiles {
			return fault.New(fault.Exhausted, "winget: the folder of manifests has more than %d files", maxFiles)
		}
		if ctx.Err() != nil {
			return fault.Wrap(ctx.Err(), fault.Cancelled, "winget: stopped")
		}
		switch {
		case err != nil:
			out.reject(name, "it can't be read")
			return nil //nolint:nilerr // one bad entry spoils no other
		case e.IsDir() && strings.HasPrefix(e.Name(), ".") && name != ".":
			return fs.SkipDir
		case !e.Type().IsRegular() || !wanted.file(e.Name()):
			return nil
		}
		d, why := readFile(in, name)
		if why != "" {
			out.reject(name, why)
			return nil
		}
		if wanted.wants(d.Identifier) {
			out.Files++
			d.Place = name
			docs = append(docs, d)
		}
		return nil
	})
	if err != nil {
		return folded{}, err
	}
	docs, twice := apart(docs)
	var rejected []crawl.Rejection
	out.Versions, rejected = Join(docs)
	out.Rejected = slices.Concat(out.Rejected, twice, rejected)
	return out, nil
}

func (f *folded) reject(what, why string) {
	f.Rejected = append(f.Rejected, crawl.Rejection{What: what, Reason: why})
}

// file reports whether a file's name may be a wanted manifest's: the package
// identifier, then perhaps "installer" or "locale.<tag>". Other names count
// when everything does.
func (f follow) file(name string) bool {
	id, ok := strings.CutSuffix(strings.ToLower(name), ".yaml")
	if !ok {
		return false
	}
	id = strings.TrimSuffix(id, ".installer")
	if i := strings.LastIndex(id, ".locale."); i >= 0 {
		id = id[:i]
	}
	return f.wants(id)
}

func readFile(in fs.FS, name string) (Document, string) {
	file, err := in.Open(name)
	if err != nil {
		return Document{}, "it can't be read"
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxManifest+1))
	if err != nil {
		return Document{}, "it can't be read"
	}
	d, err := ParseDocument(data)
	if err != nil {
		return Document{}, why(err)
	}
	return d, ""
}

// why is an error's message with the cause, which is the parser's word on a
// file that everybody may read.
func why(err error) string {
	text := fault.Public(err)
	if cause := errors.Unwrap(err); cause != nil {
		text += ": " + clip(cause.Error())
	}
	return strings.TrimPrefix(text, "winget: ")
}
