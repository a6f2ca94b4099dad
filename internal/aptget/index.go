package aptget

import (
	"compress/bzip2"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// Index is a Packages file that Update has fetched, and the signed file that vouches for it.
type Index struct {
	// Path is the file on disk, compressed as its name says; OpenIndex reads it.
	Path string
	// InRelease is the clear-signed Release file on disk; "" when the archive has only Release and ReleaseGPG.
	InRelease, Release, ReleaseGPG string
	// MetaKey is the index's name in the Release file's list of hashes, such as "main/binary-amd64/Packages".
	MetaKey string
	// RepoURI is the archive's base, to which a package's Filename is relative; BaseURI the folder of its Release file.
	RepoURI, BaseURI string
	// Dist is the suite as the source names it ("bookworm-security"); Suite and Codename are as the Release file does.
	Dist, Suite, Codename string
	// Component is "main", "" in a flat archive. Architecture is that of the index, "all" included.
	Component, Architecture string
	// Origin and Label are the archive's own, such as "Debian" and "Debian-Security".
	Origin, Label string
	// Trusted reports that apt accepted the archive: its signature is good, or the source says [trusted=yes].
	Trusted bool
	// ByHash reports that the archive serves indexes under by-hash/ too.
	ByHash bool
	// Entry is the source that named it, "file:number"; see Source.Entry.
	Entry string
	// SignedBy is who must have signed: as the source says, else apt's trusted keyrings.
	SignedBy SignedBy
}

// targetFields are the variables of an index target, in the order in which target reads them.
var targetFields = []string{
	"FILENAME", "METAKEY", "REPO_URI", "BASE_URI", "RELEASE", "SUITE", "CODENAME", "COMPONENT", "ARCHITECTURE",
	"ORIGIN", "LABEL", "TRUSTED", "BY_HASH", "SOURCESENTRY",
}

// Indexes names the Packages files that are on disk, from the last Update that could fetch each.
func (a *Apt) Indexes(ctx context.Context) ([]Index, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	res, err := a.run(ctx, run.Cmd{Argv: []string{
		"apt-get", "indextargets", "--format", "$(" + strings.Join(targetFields, ")\x1f$(") + ")", "Identifier: Packages",
	}})
	if err != nil {
		return nil, err
	}
	signers, err := a.signers()
	if err != nil {
		return nil, err
	}
	var out []Index
	for line := range strings.Lines(string(res.Stdout)) {
		ix, err := target(strings.TrimRight(line, "\n"))
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(ix.Path); err == nil {
			ix.SignedBy = signers[ix.Entry]
			out = append(out, ix)
		}
	}
	return out, nil
}

// target reads one index target. A variable that the target lacks stays as "$(NAME)".
func target(line string) (Index, error) {
	v := strings.Split(line, "\x1f")
	if len(v) != len(targetFields) {
		return Index{}, fault.New(fault.Unsupported, "aptget: apt-get indextargets gave %d fields instead of %d", len(v), len(targetFields))
	}
	for i := range v {
		if v[i] == "$("+targetFields[i]+")" {
			v[i] = ""
		}
	}
	ix := Index{
		Path: v[0], MetaKey: v[1], RepoURI: v[2], BaseURI: v[3], Dist: v[4], Suite: v[5], Codename: v[6], Component: v[7], Architecture: v[8],
		Origin: v[9], Label: v[10], Trusted: v[11] == "yes", ByHash: v[12] == "yes", Entry: v[13],
	}
	prefix, err := listPrefix(ix.Path, ix.MetaKey)
	if err != nil {
		return Index{}, err
	}
	if _, err := os.Stat(prefix + "InRelease"); err == nil {
		ix.InRelease = prefix + "InRelease"
	} else {
		ix.Release, ix.ReleaseGPG = prefix+"Release", prefix+"Release.gpg"
	}
	return ix, nil
}

// listPrefix strips an index's own name from its file name, which leaves what all files of its Release share.
func listPrefix(path, metaKey string) (string, error) {
	name := escape(metaKey, `\|{}[]<>"^~_=!@#$%^&*`)
	name = strings.ReplaceAll(name, "/", "_")
	for _, ext := range []string{"", ".lz4", ".zst", ".xz", ".gz", ".bz2", ".lzma"} {
		if p, ok := strings.CutSuffix(path, name+ext); ok {
			return p, nil
		}
	}
	return "", fault.New(fault.Unsupported, "aptget: apt keeps %s in %s, which is not understood", metaKey, filepath.Base(path))
}

// escape is apt's QuoteString: bytes in bad, blanks, '%' and what is not printable ASCII become %xx.
func escape(s, bad string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' || strings.IndexByte(bad, c) >= 0 {
			fmt.Fprintf(&b, "%%%02x", c)
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// OpenIndex opens an index and unpacks it as its extension says: lz4, zst, xz, gz, bz2 or none. A damaged file shows
// while it is read. Errors: fault.NotFound when it is gone, fault.Unsupported for another extension.
func OpenIndex(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "aptget: can't open the index %s", filepath.Base(path))
	}
	r, err := unpack(f, filepath.Ext(path))
	if err != nil {
		_ = f.Close() // only read from
		return nil, err
	}
	return &unpacked{r, f}, nil
}

func unpack(f io.Reader, ext string) (io.Reader, error) {
	var r io.Reader
	var err error
	switch ext {
	case ".lz4":
		r = lz4.NewReader(f)
	case ".zst":
		var z *zstd.Decoder
		z, err = zstd.NewReader(f, zstd.WithDecoderMaxMemory(256<<20))
		r = zstdReader{z}
	case ".xz":
		r, err = xz.NewReader(f)
	case ".gz":
		r, err = gzip.NewReader(f)
	case ".bz2":
		r = bzip2.NewReader(f)
	default:
		if strings.HasSuffix(ext, "Packages") || !strings.HasPrefix(ext, ".") || strings.Contains(ext, "_") {
			return f, nil
		}
		return nil, fault.New(fault.Unsupported, "aptget: don't know how to unpack %s", ext)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "aptget: the index is no %s file", ext)
	}
	return r, nil
}

type unpacked struct {
	io.Reader
	file *os.File
}

func (u *unpacked) Close() error {
	if z, ok := u.Reader.(zstdReader); ok {
		z.Close()
	}
	return u.file.Close()
}

// zstdReader keeps the decoder's own type away from io.ReadCloser, which it does not satisfy.
type zstdReader struct{ *zstd.Decoder }
