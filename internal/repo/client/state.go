package client

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
)

// stateFile remembers what no metadata file says.
type stateFile struct {
	Refreshed time.Time `json:"refreshed"`
}

// pin puts the pinned root at the start of the stored chain.
func (c *Client) pin() error {
	version := c.root.Signed.Version
	stored, err := c.load(repo.Root, version)
	switch {
	case err == nil && bytes.Equal(stored, c.opts.Root):
		return nil
	case err == nil:
		return fault.New(fault.Conflict, "client: the folder %s holds the state of another repository", c.opts.Dir).
			WithHint("Give each repository a folder of its own. To change repositories, use an empty one.")
	case !fault.Is(err, fault.NotFound):
		return err
	}
	if err := os.MkdirAll(filepath.Join(c.opts.Dir, repo.MetadataDir), 0o755); err != nil {
		return fault.Wrap(err, codeFor(err), "client: the state folder can't be made")
	}
	return c.store(repo.Root, version, c.opts.Root)
}

// restore takes up the stored state as far as it verifies. Expiry is not
// looked at: an old state is still the last good one.
func (c *Client) restore() {
	set := c.begin(time.Time{})
	for {
		data, err := c.load(repo.Root, set.Root.Signed.Version+1)
		if err != nil || guard(func() error { _, err := set.UpdateRoot(data); return err }) != nil {
			break
		}
	}
	c.root = set.Root
	stamp, err := c.load(repo.Timestamp, 0)
	if err != nil || guard(func() error { _, err := set.UpdateTimestamp(stamp); return err }) != nil {
		return
	}
	c.stamp = stamp // protects from a rollback even when the rest is damaged
	if c.restoreBelow(set) != nil {
		return
	}
	var file stateFile
	if data, err := os.ReadFile(c.statePath()); err == nil {
		_ = json.Unmarshal(data, &file) // a damaged time counts as none
	}
	c.adopt(set, file.Refreshed)
}

// restoreBelow loads the stored files that the timestamp vouches for.
func (c *Client) restoreBelow(set *trustedmetadata.TrustedMetadata) error {
	return guard(func() error {
		snapshot, err := c.load(repo.Snapshot, set.Timestamp.Signed.Meta["snapshot.json"].Version)
		if err != nil {
			return err
		}
		if _, err := set.UpdateSnapshot(snapshot, false); err != nil {
			return err
		}
		targets, err := c.load(repo.Targets, set.Snapshot.Signed.Meta["targets.json"].Version)
		if err != nil {
			return err
		}
		_, err = set.UpdateTargets(targets)
		return err
	})
}

// begin starts a set of metadata from the newest trusted root.
func (c *Client) begin(now time.Time) *trustedmetadata.TrustedMetadata {
	return &trustedmetadata.TrustedMetadata{
		Root:    c.root,
		Targets: map[string]*metadata.Metadata[metadata.TargetsType]{},
		RefTime: now,
	}
}

// adopt makes a complete set the last good state.
func (c *Client) adopt(set *trustedmetadata.TrustedMetadata, refreshed time.Time) {
	status := describeAll(set)
	status.Fingerprint, status.Refreshed = c.fingerprint, refreshed
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good, c.status = set, status
}

// seen remembers that the repository proved to be current.
func (c *Client) seen(now time.Time) error {
	c.mu.Lock()
	c.status.Refreshed = now
	c.mu.Unlock()
	data, err := json.Marshal(stateFile{Refreshed: now})
	if err != nil {
		return fault.Wrap(err, fault.Internal, "client: the time of refresh can't be encoded")
	}
	if err := atomicfile.Write(c.statePath(), data, 0o644); err != nil {
		return fault.Wrap(err, codeFor(err), "client: the time of refresh can't be stored")
	}
	return nil
}

func (c *Client) statePath() string { return filepath.Join(c.opts.Dir, "client.json") }

func (c *Client) path(role repo.Role, version int64) string {
	return filepath.Join(c.opts.Dir, filepath.FromSlash(repo.MetadataPath(role, version)))
}

func (c *Client) load(role repo.Role, version int64) ([]byte, error) {
	data, err := os.ReadFile(c.path(role, version))
	if err != nil {
		return nil, fault.Wrap(err, codeFor(err), "client: the stored %s metadata can't be read", role)
	}
	return data, nil
}

func (c *Client) store(role repo.Role, version int64, data []byte) error {
	if err := atomicfile.Write(c.path(role, version), data, 0o644); err != nil {
		return fault.Wrap(err, codeFor(err), "client: the %s metadata can't be stored", role)
	}
	return nil
}
