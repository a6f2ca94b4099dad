package lab

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/fettlehq/fettle/internal/deb822"
	"github.com/fettlehq/fettle/internal/fault"
)

const (
	maxControlMember = 64 << 20 // bytes, packed; texlive's has a few MB
	maxControlTar    = 512 << 20
	maxControlFile   = 4 << 20
)

// Control is what a package says of itself.
type Control struct{ Package, Version, Architecture string }

// ReadDeb reads the control fields of a .deb file, deb(5): an ar archive of
// debian-binary, control.tar[.gz|.xz|.zst] and data. It reads no further than
// the control file and bounds what it unpacks. What is no such package is
// fault.Invalid.
func ReadDeb(r io.Reader) (Control, error) {
	b := bufio.NewReader(r)
	magic := make([]byte, 8)
	if _, err := io.ReadFull(b, magic); err != nil || string(magic) != "!<arch>\n" {
		return Control{}, notDeb(err, "it is no ar archive")
	}
	for n := 0; ; n++ {
		name, size, err := arHeader(b)
		if err != nil {
			return Control{}, err
		}
		if n == 0 && name != "debian-binary" {
			return Control{}, notDeb(nil, "its first member is not debian-binary")
		}
		if ext, ok := strings.CutPrefix(name, "control.tar"); ok {
			if size > maxControlMember {
				return Control{}, notDeb(nil, "its control member is too large")
			}
			return readControl(io.LimitReader(b, size), ext)
		}
		if name != "debian-binary" && !strings.HasPrefix(name, "_") {
			return Control{}, notDeb(nil, "its control member is missing")
		}
		if _, err := io.CopyN(io.Discard, b, size+size%2); err != nil {
			return Control{}, notDeb(err, "it is cut off")
		}
	}
}

// arHeader reads the 60 bytes before a member, ar(5).
func arHeader(r io.Reader) (name string, size int64, err error) {
	h := make([]byte, 60)
	if _, err := io.ReadFull(r, h); err != nil || string(h[58:]) != "`\n" {
		return "", 0, notDeb(err, "its ar archive is damaged")
	}
	size, err = strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
	if err != nil || size < 0 {
		return "", 0, notDeb(err, "its ar archive is damaged")
	}
	return strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/"), size, nil
}

func readControl(r io.Reader, ext string) (Control, error) {
	var err error
	switch ext {
	case "":
	case ".gz":
		r, err = gzip.NewReader(r)
	case ".xz":
		r, err = xz.NewReader(r)
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxControlTar)); err == nil {
			defer z.Close()
			r = z
		}
	default:
		return Control{}, notDeb(nil, "its control member is packed in an unknown way")
	}
	if err != nil {
		return Control{}, notDeb(err, "its control member is damaged")
	}
	t := tar.NewReader(io.LimitReader(r, maxControlTar))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return Control{}, notDeb(nil, "it has no control file")
		}
		if err != nil {
			return Control{}, notDeb(err, "its control member is damaged")
		}
		if path.Clean(h.Name) == "control" && h.Typeflag == tar.TypeReg {
			return controlFields(io.LimitReader(t, maxControlFile))
		}
	}
}

func controlFields(r io.Reader) (Control, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return Control{}, notDeb(err, "its control file is cut off")
	}
	s := deb822.NewReader(bytes.NewReader(data), deb822.Options{Fields: []string{"Package", "Version", "Architecture"}})
	if !s.Next() {
		return Control{}, notDeb(s.Err(), "its control file is empty")
	}
	return Control{Package: string(s.At(0)), Version: string(s.At(1)), Architecture: string(s.At(2))}, nil
}

func notDeb(cause error, why string) error {
	return fault.Wrap(cause, fault.Invalid, "lab: this is no Debian package: %s", why)
}
