package repo

import (
	"path"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// The folders of a repository, with forward slashes on every platform.
const (
	MetadataDir = "metadata"
	TargetsDir  = "targets"
	PayloadsDir = "payloads/sha256"
)

// maxName bounds a target name in bytes, so that the name with its 65-byte
// hash prefix fits every common file system.
const maxName = 180

// MetadataPath returns the path of a role's metadata file relative to the
// repository. The version is ignored for timestamp, which has one fixed name.
func MetadataPath(role Role, version int64) string {
	if role == Timestamp {
		return MetadataDir + "/timestamp.json"
	}
	return MetadataDir + "/" + strconv.FormatInt(version, 10) + "." + string(role) + ".json"
}

// TargetPath returns the path of a target's bytes relative to the repository:
// the hash stands before the base name (TUF's consistent snapshots), so that a
// new version never replaces bytes that a reader is still fetching. The name
// must have passed CheckName and the hash CheckHash.
func TargetPath(name, sha256 string) string {
	dir, base := path.Split(name)
	return TargetsDir + "/" + dir + sha256 + "." + base
}

// PayloadPath returns the path of a payload relative to the repository. It
// returns fault.Invalid when the hash is not 64 lower-case hex digits.
func PayloadPath(sha256 string) (string, error) {
	if err := CheckHash(sha256); err != nil {
		return "", err
	}
	return PayloadsDir + "/" + sha256[:2] + "/" + sha256, nil
}

// CheckHash returns fault.Invalid unless s is a SHA-256 in lower-case hex.
func CheckHash(s string) error {
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return fault.New(fault.Invalid, "repo: %q is no SHA-256 in lower-case hex", clip(s))
	}
	return nil
}

// CheckName returns fault.Invalid unless name is fit to be a target's name on
// every platform: segments of letters, digits and "._+~@=-" that neither are
// empty nor start with a dot, joined by slashes, 180 bytes at most.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return fault.New(fault.Invalid, "repo: target name %q must have 1 to %d bytes", clip(name), maxName)
	}
	for seg := range strings.SplitSeq(name, "/") {
		if seg == "" || seg[0] == '.' || strings.IndexFunc(seg, notNameRune) >= 0 {
			return fault.New(fault.Invalid, "repo: target name %q has an empty, hidden or unsafe part", clip(name))
		}
	}
	return nil
}

func notNameRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("._+~@=-", r)
}

// clip shortens text from outside before it goes into a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
