package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/repo/client"
)

// shardSet holds the shards that serve a machine, the native one first.
type shardSet struct {
	list  []*catalog.Shard
	files []*os.File
}

func (s *shardSet) Close() {
	for _, f := range s.files {
		_ = f.Close() // read only
	}
}

func (s *shardSet) add(f *os.File) error {
	s.files = append(s.files, f)
	info, err := f.Stat()
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't read the catalog %s", f.Name())
	}
	shard, err := catalog.Open(f, info.Size())
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "agent: the catalog %s is refused", filepath.Base(f.Name()))
	}
	s.list = append(s.list, shard)
	return nil
}

// version is the newest of the shards' versions.
func (s *shardSet) version() (v int64) {
	for _, one := range s.list {
		v = max(v, one.Header().Version)
	}
	return v
}

// openShards opens the catalog file that was named, or those of the machine's
// slices that the state folder holds: any may be absent, one must be there.
func openShards(o ScanOptions, snap *inventory.Snapshot) (*shardSet, error) {
	set := &shardSet{}
	open := func() error { return set.openKept(o.State, snap.Platforms(), nil) }
	if o.Catalog != "" {
		open = func() error { return set.openNamed(o.Catalog, snap.Platforms()) }
	}
	if err := open(); err != nil {
		set.Close()
		return nil, err
	}
	return set, nil
}

func (s *shardSet) openNamed(path string, platforms []string) error {
	f, err := openCatalog(path)
	if err != nil {
		return err
	}
	if err := s.add(f); err != nil {
		return err
	}
	if got := s.list[0].Header().Platform; !slices.Contains(platforms, got) {
		return fault.New(fault.Invalid, "agent: the catalog is for %s, this machine is %s", got, strings.Join(platforms, " with "))
	}
	return nil
}

// openKept opens the kept shards of the platforms; prove, which may be nil,
// says of each whether it counts.
func (s *shardSet) openKept(d Dir, platforms []string, prove func(*os.File, string) error) error {
	for _, p := range platforms {
		f, err := openShared(d.Shard(p))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return fault.Wrap(err, fault.Unavailable, "agent: can't open the catalog for %s", p)
		}
		if prove != nil {
			if err := prove(f, p); err != nil {
				return errors.Join(err, f.Close())
			}
		}
		if err := s.add(f); err != nil {
			return err
		}
	}
	if len(s.list) == 0 {
		return fault.New(fault.NotFound, "agent: there is no catalog for %s yet", strings.Join(platforms, " or ")).
			WithHint("the agent fetches it from its server; to scan without one, name a shard with --catalog FILE")
	}
	return nil
}

// openVerified opens the machine's shards and proves that each is, byte for
// byte, what the repository's keys have signed. One that they no longer sign
// was removed when the repository was last followed.
func openVerified(d Dir, snap *inventory.Snapshot) (*shardSet, error) {
	c, err := openRepository(d, nil)
	if err != nil {
		return nil, err
	}
	set := &shardSet{}
	err = set.openKept(d, snap.Platforms(), func(f *os.File, platform string) error {
		want, err := signedShard(c, platform)
		if err == nil {
			err = checkFile(f, want)
		}
		if fault.Is(err, fault.Untrusted) { // without its description it is fetched again
			err = errors.Join(err, os.Remove(d.Shard(platform)+".json"))
		}
		return unjoin(err)
	})
	if err != nil {
		set.Close()
		return nil, err
	}
	return set, nil
}

func checkFile(f *os.File, want shardInfo) error {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, maxShardFile)); err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't read the catalog")
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
		return fault.New(fault.Untrusted, "agent: the stored catalog for %s is refused: its SHA-256 is %s where %s is signed for", want.Platform, got, want.SHA256).
			WithHint("the agent fetches it again; check the disk if this returns")
	}
	return nil
}

// shardInfo is what the publisher attaches to a shard's signed target, and
// what the agent keeps beside its copy: the shard as it lies uncompressed.
type shardInfo struct {
	Platform string `json:"platform"`
	Version  int64  `json:"version"`
	SHA256   string `json:"sha256"`
	Size     int64  `json:"size"`
}

func shardTarget(platform string) string { return "catalog/" + platform + ".shard.zst" }

// signedShard is what the repository's keys say about a platform's shard;
// fault.NotFound where they sign none.
func signedShard(c *client.Client, platform string) (shardInfo, error) {
	target, err := c.Target(shardTarget(platform))
	if err != nil {
		return shardInfo{}, err
	}
	return parseShardInfo(target, platform)
}

func parseShardInfo(t client.Target, platform string) (shardInfo, error) {
	var info shardInfo
	if err := json.Unmarshal(t.Custom, &info); err != nil || info.Platform != platform || len(info.SHA256) != 64 || info.Size <= 0 || info.Size > maxShardFile {
		return info, fault.Wrap(err, fault.Untrusted, "agent: the catalog for %s is refused: its signed description is not whole", platform)
	}
	return info, nil
}

// keptShard reads what the agent's copy is; the zero value when there is none.
func keptShard(d Dir, platform string) (info shardInfo, err error) {
	err = readJSON(d.Shard(platform)+".json", &info)
	if _, statErr := os.Stat(d.Shard(platform)); err != nil || statErr != nil {
		return shardInfo{}, errors.Join(err, statErr)
	}
	return info, nil
}

// keptVersion is the catalog's version by the shards that are kept, 0 for
// none: the publisher gives all slices of one publication the same number.
func keptVersion(d Dir, platforms []string) (version int64) {
	for _, p := range platforms {
		have, _ := keptShard(d, p) // none and a damaged one count as 0
		version = max(version, have.Version)
	}
	return version
}

// aside marks, before a random word, a shard that was replaced while somebody
// read it.
const aside = ".old-"

// dropShards removes the shards of platforms other than these: the machine was
// another one before an upgrade, or the repository signs them no longer.
func dropShards(d Dir, keep []string) error {
	found, err := os.ReadDir(d.path("shards"))
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't read the folder %s", d.path("shards"))
	}
	var errs []error
	for _, f := range found {
		platform, rest, isShard := strings.Cut(f.Name(), ".shard")
		if isShard && (!slices.Contains(keep, platform) || strings.HasPrefix(rest, aside)) {
			errs = append(errs, os.Remove(d.path("shards", f.Name())))
		}
	}
	return errors.Join(errs...)
}

const maxShardFile = catalog.MaxShard

// openCatalog opens a shard; a compressed one goes through a file that is
// deleted when it is closed.
func openCatalog(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "agent: can't open the catalog %s", path)
	}
	if !strings.HasSuffix(path, ".zst") {
		return f, nil
	}
	defer func() { _ = f.Close() }() // read only
	tmp, err := createVanishing()
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "agent: can't unpack the catalog")
	}
	if err := unpack(tmp, f, maxShardFile); err != nil {
		return nil, errors.Join(err, tmp.Close())
	}
	return tmp, nil
}

// unpack decompresses zstd, at most limit bytes.
func unpack(w io.Writer, r io.Reader, limit int64) error {
	dec, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return fault.Wrap(err, fault.Internal, "agent: start the decompression")
	}
	defer dec.Close()
	n, err := io.Copy(w, io.LimitReader(dec, limit+1))
	switch {
	case err != nil:
		return fault.Wrap(err, fault.Untrusted, "agent: the catalog can't be unpacked")
	case n > limit:
		return fault.New(fault.Untrusted, "agent: the catalog unpacks to more than %d bytes", limit)
	}
	return nil
}
