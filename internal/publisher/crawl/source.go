// Package crawl asks vendors what is new.
//
// A Source is one vendor's archive or feed. It has two halves: Fetch is
// conditional and brings what changed into the source's own folder, Parse is
// pure and turns that folder into patches, advisories and vulnerabilities. The
// Runner runs all sources, keeps each one's health, and falls back to what a
// failing source gave before: one failing source never stops the others.
//
// Join tells the patches which CVEs and advisories they answer, from what the
// vendors' trackers say of source packages and releases.
package crawl

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Fingerprint is what a source remembers of its last good fetch: which files
// of its folder count, and how to ask whether they are still current. Only the
// source reads it. Nil means that there is none yet.
type Fingerprint json.RawMessage

// Fetched is what a fetch came to.
type Fetched struct {
	// Changed says that Parse will give something else than before.
	Changed bool
	// Fingerprint replaces the one that was handed in.
	Fingerprint Fingerprint
	// Notes tell people what is not as usual although the fetch as a whole
	// is good: one suite of several that could not be refreshed.
	Notes []string
}

// Output is what a source says.
type Output struct {
	// Archives are the vendor's archive snapshots; their blobs lie in Dir.
	Archives []catalog.Archive
	// Releases maps an archive's id to the release name that trackers use
	// for it, such as "bookworm".
	Releases map[string]string
	Patches  []patch.Patch
	// Rejected are packages that no patch was made of, with the reason.
	Rejected        []Rejection
	Advisories      []patch.Advisory
	Vulnerabilities []patch.Vulnerability
	// Fixes say from which version on a source package lacks a CVE.
	Fixes []Fix
	// Entries counts the entries of a feed that only adds risk.
	Entries int
	Notes   []string
	// Dir is the source's folder; see OpenBlob.
	Dir string
}

// Fix says that a CVE is gone from a vendor's source package, in one release,
// from a version on.
type Fix struct {
	CVE     string
	Vendor  string // as in patch.Patch
	Product string // source package
	Release string // "bookworm"
	FixedIn string
	// Severity is the vendor's word on this CVE in this package.
	Severity patch.Severity
}

// Rejection is something that was left out because a check failed.
type Rejection struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Source is one vendor's archive or feed. A Source is used by one goroutine at
// a time.
type Source interface {
	// Name is short, unique among the sources and fit to be a file name.
	Name() string
	// Fetch looks whether there is anything newer than prev says and brings
	// it into dir, next to what prev still needs. It must not remove
	// anything. An error leaves prev in force.
	Fetch(ctx context.Context, dir string, prev Fingerprint) (Fetched, error)
	// Parse reads what the fingerprint names in dir. It never reaches the
	// network, and the same files always give the same output.
	Parse(ctx context.Context, dir string, at Fingerprint) (Output, error)
}

// Keeper is a Source that says which blobs a fingerprint needs, so that the
// Runner can sweep the others out of its folder.
type Keeper interface {
	Source
	Blobs(at Fingerprint) []string
}

// blobDir is where sources keep files by hash, below their own folder.
const blobDir = "blobs"

// BlobPath is where a source keeps the bytes with that SHA-256 in its folder.
func BlobPath(dir, sha256 string) string { return filepath.Join(dir, blobDir, sha256) }

// OpenBlob opens bytes that an archive of the output refers to. It returns
// fault.NotFound when they are not there.
func (o Output) OpenBlob(sha256 string) (io.ReadCloser, error) {
	f, err := os.Open(BlobPath(o.Dir, sha256))
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "crawl: blob %s is not in the source's folder", sha256)
	}
	return f, nil
}

// Wanted is a package whose payload is to be fetched.
type Wanted struct {
	Item patch.Item
	// Archives are the ids of the snapshots that hold it.
	Archives []string
}

// Payloader is a Source that can fetch the payloads of what it offers.
type Payloader interface {
	Source
	// Holds names the ids of the archive snapshots whose payloads it can
	// fetch.
	Holds(at Fingerprint) []string
	// Payloads fetches the items' files into dir, which exists, and returns
	// their paths by SHA-256. Whether the bytes are right is for the caller
	// to prove. fault.NotFound means that the vendor does not offer one of
	// them any more.
	Payloads(ctx context.Context, at Fingerprint, items []Wanted, dir string) (map[string]string, error)
}

// Shelf is a Payloader that also offers payloads which stand in no archive, by
// their hash. Those that its fetch has brought lie in its folder (BlobPath);
// Payloads fetches them again.
type Shelf interface {
	Payloader
	// Offers says whether it can fetch the payload.
	Offers(at Fingerprint, sha256 string) bool
}

// Prover is a Shelf whose payloads are fetched for proving only when somebody
// wants that: its vendor signs nothing that names them, and they are large.
type Prover interface {
	Shelf
	// Ask says which patches people want proven, besides those that the
	// configuration names. It counts from the next Fetch on; ids of other
	// sources' patches mean nothing to it.
	Ask(ids []patch.ID)
}
