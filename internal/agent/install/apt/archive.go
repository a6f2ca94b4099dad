package apt

import (
	"os"
	"path"
	"path/filepath"
	"regexp"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
)

// Words of an archive become lines of a source list and names of files that
// root writes. A line break in one of them could say "Trusted: yes", and the
// vendor's signature would count no more; so even the signed catalog may only
// say what an archive's words look like (sources.list(5), deb822(5)).
var (
	archiveID   = regexp.MustCompile(`^[0-9a-f]{16}$`)
	suitePath   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~+:/-]*$`)
	component   = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._~+/-]*)?$`)
	archName    = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*)?$`)
	indexName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~+/-]*$`)
	keyringPath = regexp.MustCompile(`^/(usr|etc|opt|var/lib/extrepo)/[A-Za-z0-9._~+/-]+$`)
)

// checkArchive refuses (Untrusted) an archive whose words could mean more to
// apt than they should.
func checkArchive(a catalog.Archive) error {
	flat := a.Path == "/" || a.Path == "./"
	switch {
	case !archiveID.MatchString(a.ID):
		return fault.New(fault.Untrusted, "%.40q is no id", a.ID)
	case !flat && (!suitePath.MatchString(a.Path) || !filepath.IsLocal(a.Path)):
		return fault.New(fault.Untrusted, "%.80q is no suite", a.Path)
	}
	for _, ix := range a.Indexes {
		if !indexName.MatchString(ix.Name) || !filepath.IsLocal(ix.Name) {
			return fault.New(fault.Untrusted, "%.80q is no name of an index", ix.Name)
		}
		if !component.MatchString(ix.Component) || !archName.MatchString(ix.Arch) {
			return fault.New(fault.Untrusted, "its index %s has a component or an architecture that is none", ix.Name)
		}
	}
	return nil
}

// sound sorts out the archives that apt may be told of. The others are noted
// as refused.
func (w *workspace) sound(all []catalog.Archive) []catalog.Archive {
	w.refused = map[string]string{}
	var good []catalog.Archive
	for _, a := range all {
		if err := checkArchive(a); err != nil {
			w.refused[a.ID] = "an archive of the catalog: " + fault.Public(err)
			continue
		}
		good = append(good, a)
	}
	return good
}

// keyringHere reports whether the machine has the keyring in a place where
// keyrings are kept by people and packages. A path into the agent's own state,
// say, could name a key that the catalog itself brought.
func keyringHere(name string) bool {
	if !keyringPath.MatchString(name) || path.Clean(name) != name {
		return false
	}
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
