package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// Mirror makes dst a repository of its own from the last good state: the
// verified metadata byte for byte, every root version since the pinned one,
// and the targets that choose accepts (nil: all). Readers see a consistent
// repository at any moment, since the timestamp is replaced last; targets that
// neither the new nor the previous version names are removed. Payloads are the
// caller's: they lie at repo.PayloadPath. dst must not be the state folder.
// Targets that are there already are verified and not fetched again.
func (c *Client) Mirror(ctx context.Context, dst string, choose func(Target) bool) error {
	c.refreshing.Lock() // the state must not move under the copy
	defer c.refreshing.Unlock()
	if c.good == nil {
		return fault.New(fault.Unavailable, "client: nothing can be mirrored before the first refresh")
	}
	keep := previousTargets(dst)
	for _, t := range c.Targets() {
		if choose != nil && !choose(t) {
			continue
		}
		w := t.want()
		keep[w.path] = true
		if err := c.mirrorTarget(ctx, w, filepath.Join(dst, filepath.FromSlash(w.path))); err != nil {
			return err
		}
	}
	if err := c.mirrorMetadata(dst); err != nil {
		return err
	}
	return sweep(dst, keep)
}

func (c *Client) mirrorTarget(ctx context.Context, w want, path string) error {
	if holds(path, w) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fault.Wrap(err, codeFor(err), "client: the mirror's folder can't be made")
	}
	return c.copyFile(ctx, w, path)
}

// holds reports whether the file at path is already what is wanted.
func holds(path string, w want) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	n, err := io.Copy(h, f)
	return err == nil && n == w.length && hex.EncodeToString(h.Sum(nil)) == w.sha256
}

// mirrorMetadata copies the stored metadata, new names first, timestamp last.
func (c *Client) mirrorMetadata(dst string) error {
	if err := os.MkdirAll(filepath.Join(dst, repo.MetadataDir), 0o755); err != nil {
		return fault.Wrap(err, codeFor(err), "client: the mirror's folder can't be made")
	}
	type file struct {
		role    repo.Role
		version int64
	}
	files := []file{
		{repo.Targets, c.good.Targets[metadata.TARGETS].Signed.Version},
		{repo.Snapshot, c.good.Snapshot.Signed.Version},
	}
	pinned, err := repo.ParseRoot(c.opts.Root)
	if err != nil {
		return err
	}
	for v := pinned.Signed.Version; v <= c.good.Root.Signed.Version; v++ {
		files = append(files, file{repo.Root, v})
	}
	files = append(files, file{repo.Timestamp, 0})
	for _, f := range files {
		data, err := c.load(f.role, f.version)
		if err != nil {
			return err
		}
		path := filepath.Join(dst, filepath.FromSlash(repo.MetadataPath(f.role, f.version)))
		if err := atomicfile.Write(path, data, 0o644); err != nil {
			return fault.Wrap(err, codeFor(err), "client: the %s metadata can't be mirrored", f.role)
		}
	}
	return errors.Join(forgetMetadata(dst, repo.Targets, files[0].version), forgetMetadata(dst, repo.Snapshot, files[1].version))
}

// previousTargets lists the target paths that the newest targets file in dst
// names, for readers that still hold it. A damaged one counts as none.
func previousTargets(dst string) map[string]bool {
	keep := map[string]bool{}
	_ = guard(func() error {
		m, err := metadata.Targets().FromFile(filepath.Join(dst, repo.MetadataDir, newest(dst, repo.Targets, 0)))
		if err != nil {
			return err
		}
		for name, t := range m.Signed.Targets {
			keep[repo.TargetPath(name, t.Hashes["sha256"].String())] = true
		}
		return nil
	})
	return keep
}

// newest returns the name of the role's metadata file in dst with the highest
// version other than except, or "".
func newest(dst string, role repo.Role, except int64) string {
	entries, err := os.ReadDir(filepath.Join(dst, repo.MetadataDir))
	if err != nil {
		return ""
	}
	name, top := "", int64(-1)
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), "."+string(role)+".json")
		v, err := strconv.ParseInt(number, 10, 64)
		if ok && err == nil && v != except && v > top {
			name, top = e.Name(), v
		}
	}
	return name
}

// forgetMetadata removes versions of a role from dst, except the given one and
// the newest other one.
func forgetMetadata(dst string, role repo.Role, version int64) error {
	dir := filepath.Join(dst, repo.MetadataDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fault.Wrap(err, codeFor(err), "client: the mirror can't be read")
	}
	current, previous := filepath.Base(repo.MetadataPath(role, version)), newest(dst, role, version)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "."+string(role)+".json") || e.Name() == current || e.Name() == previous {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fault.Wrap(err, codeFor(err), "client: old metadata of the mirror can't be removed")
		}
	}
	return nil
}

// sweep removes target files that nothing names any more.
func sweep(dst string, keep map[string]bool) error {
	err := filepath.WalkDir(filepath.Join(dst, repo.TargetsDir), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dst, path)
		if err != nil || keep[filepath.ToSlash(rel)] {
			return err
		}
		return os.Remove(path)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(err, codeFor(err), "client: old targets of the mirror can't be removed")
	}
	return nil
}
