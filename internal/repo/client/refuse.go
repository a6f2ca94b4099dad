package client

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// guard turns a panic of the metadata parser into an error. go-tuf v2.4.2
// dereferences null entries ("targets":{"x":null}) before it looks at any
// signature, and no repository may bring an agent down.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Untrusted, "client: the metadata is malformed")
		}
	}()
	return f()
}

// refuse says in words why metadata of a role is not believed. known is the
// version that was held or promised.
func (s *session) refuse(role repo.Role, err error, data []byte, known int64) error {
	head := peek(data)
	offered := head.Version
	var unsigned *metadata.ErrUnsignedMetadata
	var expired *metadata.ErrExpiredMetadata
	var version *metadata.ErrBadVersionNumber
	var mismatch *metadata.ErrLengthOrHashMismatch
	switch {
	case errors.As(err, &unsigned):
		return fault.Wrap(err, fault.Untrusted, "client: the repository's %s version %d is refused: too few of the %d good signatures that root version %d demands",
			role, offered, s.threshold(role), s.set.Root.Signed.Version).
			WithHint("Someone without the publisher's keys changed it, or this machine pins the root of another repository.")
	case errors.As(err, &expired):
		return s.expired(role, head.Expires)
	case errors.As(err, &version) && role == repo.Timestamp && offered < known:
		return s.rolledBack("timestamp", offered, known)
	case errors.As(err, &version) && role == repo.Timestamp:
		return fault.Wrap(err, fault.Untrusted, "client: the repository's timestamp version %d names an older snapshot than was seen before: rolled back", offered)
	case errors.As(err, &version):
		return fault.Wrap(err, fault.Untrusted, "client: the repository's %s is refused: version %d came where %d belongs: mixed up or rolled back", role, offered, known)
	case errors.As(err, &mismatch):
		return fault.Wrap(err, fault.Untrusted, "client: the repository's %s version %d is refused: length or hash differ from what is signed for it: damaged or mixed up", role, known)
	}
	return fault.Wrap(err, fault.Untrusted, "client: the repository's %s is refused: it is no valid metadata", role)
}

func (s *session) rolledBack(what string, offered, seen int64) error {
	return fault.New(fault.Untrusted, "client: the repository offers %s version %d, but %d was seen before: rolled back", what, offered, seen).
		WithHint("The last good state is kept. If the publisher restored an old copy, it has to publish again with higher versions.")
}

func (s *session) expired(role repo.Role, at time.Time) error {
	now := s.set.RefTime
	return fault.New(fault.Untrusted, "client: the repository's %s expired at %s, %s ago: frozen or no longer maintained",
		role, at.UTC().Format(time.RFC3339), now.Sub(at).Round(time.Minute)).
		WithHint("The last good state is kept. Check that the publisher runs, that no proxy serves old files, and this machine's clock: it says %s.", now.Format(time.RFC3339))
}

func (s *session) threshold(role repo.Role) int {
	if r := s.set.Root.Signed.Roles[string(role)]; r != nil {
		return r.Threshold
	}
	return 0
}

// header is the part of any metadata that messages quote. It is not trusted.
type header struct {
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Meta    map[string]*struct {
		Version int64 `json:"version"`
	} `json:"meta"`
}

// peek reads the header, or as much of it as can be read.
func peek(data []byte) header {
	var file struct {
		Signed header `json:"signed"`
	}
	_ = json.Unmarshal(data, &file) // for a message only
	return file.Signed
}

// catalogVersion reads which targets version a snapshot file claims.
func catalogVersion(snapshot []byte) (int64, bool) {
	if m := peek(snapshot).Meta["targets.json"]; m != nil {
		return m.Version, true
	}
	return 0, false
}
