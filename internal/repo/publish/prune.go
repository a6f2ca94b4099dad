package publish

import (
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// Prune removes what readers can no longer want and returns how many files
// went: versions of targets and snapshot older than the last Options.Keep, and
// target files that neither a version that stays nor a staged change names.
// Root files and payloads stay. Call it after Publish; a crash in it does no harm.
func (r *Repository) Prune(ctx context.Context) (int, error) {
	wanted, err := r.wanted()
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, dir := range []string{repo.MetadataDir, repo.TargetsDir} {
		n, err := r.sweep(ctx, dir, wanted)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// sweep removes the files under dir that are not wanted.
func (r *Repository) sweep(ctx context.Context, dir string, wanted map[string]bool) (removed int, err error) {
	err = filepath.WalkDir(r.path(dir), func(full string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(r.dir, full)
		if err != nil {
			return err
		}
		if name := filepath.ToSlash(rel); wanted[name] || isRoot(name) {
			return nil
		}
		removed++
		return os.Remove(full)
	})
	if os.IsNotExist(err) {
		return removed, nil // a repository without targets has no such folder
	}
	if err != nil {
		return removed, fault.Wrap(err, codeFor(err), "publish: old files under %s can't be removed", dir)
	}
	return removed, nil
}

// wanted lists the paths that stay.
func (r *Repository) wanted() (map[string]bool, error) {
	keep := map[string]bool{repo.MetadataPath(repo.Timestamp, 0): true}
	v := r.Version()
	for n := max(1, v.Snapshot-int64(r.opts.Keep)); n <= v.Snapshot; n++ {
		keep[repo.MetadataPath(repo.Snapshot, n)] = true
	}
	for n := max(1, v.Targets-int64(r.opts.Keep)); n <= v.Targets; n++ {
		p := repo.MetadataPath(repo.Targets, n)
		keep[p] = true
		data, err := r.read(p)
		if fault.Is(err, fault.NotFound) {
			continue // pruned before, or a number that was skipped
		}
		if err != nil {
			return nil, err
		}
		old, err := metadata.Targets().FromBytes(data)
		if err != nil {
			continue // what a crash left; nothing refers to it
		}
		mark(keep, old.Signed.Targets)
	}
	mark(keep, r.staged)
	return keep, nil
}

func mark(keep map[string]bool, targets map[string]*metadata.TargetFiles) {
	for name, t := range targets {
		if t != nil {
			keep[repo.TargetPath(name, t.Hashes["sha256"].String())] = true
		}
	}
}

// isRoot reports whether a path is metadata/N.root.json.
func isRoot(p string) bool {
	n, ok := strings.CutSuffix(path.Base(p), ".root.json")
	_, err := strconv.ParseInt(n, 10, 64)
	return ok && err == nil && path.Dir(p) == repo.MetadataDir
}
