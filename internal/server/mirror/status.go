package mirror

import (
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// Status is what people see of the subscription.
type Status struct {
	Source string `json:"source"`
	// Fingerprint is that of the pinned root.
	Fingerprint string `json:"fingerprint"`
	// Version of the catalog in use; 0 before the first.
	Version int64 `json:"version"`
	// Metadata is the version of the newest verified signatures (TUF's
	// targets role); after a Sync that failed it may be ahead of Version.
	Metadata int64 `json:"metadata"`
	// Created is when the publisher made it; Age is how old it is now.
	Created time.Time     `json:"created,omitzero"`
	Age     time.Duration `json:"age"`
	// Synced is when it was last confirmed to be the newest.
	Synced time.Time `json:"synced,omitzero"`
	// Expires is when it can no longer be called current; Expired says that
	// it is so far.
	Expires time.Time `json:"expires,omitzero"`
	Expired bool      `json:"expired"`
	// Signers are the ids of the keys that signed the catalog (role targets),
	// Threshold how many must have.
	Signers   []string         `json:"signers,omitempty"`
	Threshold int              `json:"threshold,omitempty"`
	Platforms []PlatformStatus `json:"platforms"`
	// Attempted is when the last Sync ended; Error, with its code and hint,
	// why it failed, empty when it did not.
	Attempted time.Time  `json:"attempted,omitzero"`
	Error     string     `json:"error,omitempty"`
	Code      fault.Code `json:"code,omitempty"`
	Hint      string     `json:"hint,omitempty"`
}

// PlatformStatus is one shard in use.
type PlatformStatus struct {
	Platform string         `json:"platform"`
	Version  int64          `json:"version"`
	Created  time.Time      `json:"created"`
	SHA256   string         `json:"sha256"`
	Size     int64          `json:"size"` // bytes, unpacked
	Counts   catalog.Counts `json:"counts"`
	Archives int            `json:"archives"`
	Notes    []string       `json:"notes,omitempty"`
}

// Status returns the state of the subscription at the moment now.
func (m *Mirror) Status(now time.Time) Status {
	trust := m.client.Status()
	targets := trust.Roles[repo.Targets]
	s := Status{
		Source: m.cfg.Source, Fingerprint: trust.Fingerprint, Metadata: trust.Version, Expires: trust.Expires,
		Expired: trust.Version > 0 && trust.Expired(now), Signers: targets.Signers, Threshold: targets.Threshold,
	}
	platforms := m.Platforms()
	m.mu.RLock()
	defer m.mu.RUnlock()
	s.Version, s.Synced, s.Attempted = m.good.version(), m.good.Synced, m.last.at
	for _, p := range platforms {
		shard, f := m.shards[p], m.good.Shards[p]
		if shard == nil {
			continue // dropped between the two locks
		}
		h := shard.Header()
		s.Platforms = append(s.Platforms, PlatformStatus{
			Platform: p, Version: h.Version, Created: h.Created, SHA256: f.SHA256, Size: f.Size,
			Counts: shard.Counts(), Archives: len(h.Archives), Notes: h.Notes,
		})
		if h.Created.After(s.Created) {
			s.Created = h.Created
		}
	}
	if !s.Created.IsZero() {
		s.Age = now.Sub(s.Created)
	}
	if m.last.err != nil {
		s.Error, s.Code, s.Hint = fault.Public(m.last.err), fault.CodeOf(m.last.err), fault.HintOf(m.last.err)
	}
	return s
}
