// Package blob names payloads by their content. Where they are kept is up to the packages below it: blob/fs on a disk,
// later blob/s3. There is no interface for stores here; whoever uses one declares the few methods it needs.
package blob

import (
	"encoding/hex"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Key is the SHA-256 of a payload as 64 lower-case hex digits. Make one with ParseKey: it becomes a part of paths.
type Key string

// ParseKey accepts exactly 64 lower-case hex digits; anything else is fault.Invalid.
func ParseKey(s string) (Key, error) {
	k := Key(s)
	return k, k.Check()
}

// KeyOf returns the key of a SHA-256.
func KeyOf(sum [32]byte) Key { return Key(hex.EncodeToString(sum[:])) }

// Check returns fault.Invalid when the key is not one. Stores call it, as a Key can be made by conversion.
func (k Key) Check() error {
	if len(k) != 64 {
		return fault.New(fault.Invalid, "blob: %.80q is not a SHA-256 of 64 hex digits", string(k))
	}
	for _, c := range []byte(k) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fault.New(fault.Invalid, "blob: %.80q is not a SHA-256 in lower-case hex", string(k))
		}
	}
	return nil
}

// Info is what a store lists.
type Info struct {
	// Key names the payload, Size is its length in bytes.
	Key  Key
	Size int64
	// Used is when it came or was last noted to be of use, to a day.
	Used time.Time
}
