package authentic

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// Digest checks a stream against an expected SHA-256 and size while it is written to it. The zero value is not usable.
type Digest struct {
	want string
	size int64
	n    int64
	h    hash.Hash
}

// NewDigest expects the hex SHA-256 want and size bytes. An empty want or a negative size is not checked.
func NewDigest(want string, size int64) *Digest {
	return &Digest{want: strings.ToLower(want), size: size, h: sha256.New()}
}

// Write implements io.Writer. It fails with fault.Untrusted as soon as there are more bytes than expected, so that a
// lying server can't fill the disk.
func (d *Digest) Write(p []byte) (int, error) {
	if d.size >= 0 && d.n+int64(len(p)) > d.size {
		return 0, fault.New(fault.Untrusted, "authentic: refused a file that is longer than the %d bytes announced", d.size)
	}
	d.n += int64(len(p))
	return d.h.Write(p)
}

// Size returns the number of bytes so far.
func (d *Digest) Size() int64 { return d.n }

// Sum returns the SHA-256 of the bytes so far, as lower-case hex.
func (d *Digest) Sum() string { return hex.EncodeToString(d.h.Sum(nil)) }

// Check tells whether the bytes so far are the ones expected: nil or fault.Untrusted.
func (d *Digest) Check() error {
	if d.size >= 0 && d.n != d.size {
		return fault.New(fault.Untrusted, "authentic: refused a file of %d bytes where %d were announced", d.n, d.size)
	}
	if got := d.Sum(); d.want != "" && got != d.want {
		return fault.New(fault.Untrusted, "authentic: refused a file whose SHA-256 is %s instead of %s", got, d.want)
	}
	return nil
}

// Checksum reads r to its end and tells whether it is the file with that hex SHA-256 and size; a negative size is not
// checked. Errors: fault.Untrusted when it is another file, fault.Unavailable when it can't be read.
func Checksum(r io.Reader, sha256 string, size int64) error {
	if raw, err := hex.DecodeString(sha256); err != nil || len(raw) != 32 {
		return fault.New(fault.Invalid, "authentic: %q is no SHA-256", sha256)
	}
	d := NewDigest(sha256, size)
	if _, err := io.Copy(d, r); err != nil {
		if _, ok := errors.AsType[*fault.Error](err); ok {
			return err
		}
		return fault.Wrap(err, fault.Unavailable, "authentic: can't read the file")
	}
	return d.Check()
}
