// Package dpkg reads which Debian packages are installed from dpkg's own
// database, dpkg(1) and deb(5): the status file, the updates that an
// interrupted dpkg left beside it, and the list of architectures.
package dpkg

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/deb822"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

const (
	kind    = "dpkg"
	admin   = "var/lib/dpkg/"
	maxName = 256
)

// Collector reads packages, the native and the foreign architectures, and
// whether dpkg was interrupted.
func Collector() collect.Collector {
	return collect.Collector{Name: "dpkg", Essential: true, Collect: gather}
}

func gather(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	db, err := read(t)
	if err != nil {
		return err
	}
	s.Packages = append(s.Packages, db.installed()...)
	slices.SortFunc(s.Packages, inventory.ComparePackages)
	if s.OS.Arch, s.Policy.ForeignArchs, err = architectures(t, db); err != nil {
		return err
	}
	s.State.ManagerBroken = (db.pending || db.broken()) && !locked(t.Path(admin+"lock"))
	return nil
}

// database is dpkg's view: known packages by name and architecture.
type database struct {
	list    []inventory.Package
	gone    []bool         // of list: known, but not installed
	index   map[string]int // name:arch -> list; nil until updates need it
	arches  map[string]string
	pending bool // updates wait to be merged: dpkg was cut off
}

func read(t *collect.Tree) (*database, error) {
	db := &database{arches: map[string]string{}}
	f, err := t.Open(admin + "status")
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, fault.Wrap(err, fault.Unsupported, "collect/dpkg: this machine has no dpkg database")
		}
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	if err := db.parse(io.LimitReader(f, collect.MaxFile)); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "collect/dpkg: /%sstatus is damaged", admin)
	}
	return db, db.readUpdates(t)
}

// readUpdates applies the journal in updates/, whose files have names of
// digits alone, in their order, as dpkg does at its next start.
func (db *database) readUpdates(t *collect.Tree) error {
	names, err := t.Names(admin + "updates")
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.Trim(name, "0123456789") != "" {
			continue
		}
		db.pending = true
		db.buildIndex()
		data, err := t.ReadFile(admin+"updates/"+name, 0)
		if err != nil {
			return err
		}
		if err := db.parse(bytes.NewReader(data)); err != nil {
			return fault.Wrap(err, fault.Invalid, "collect/dpkg: /%supdates/%s is damaged", admin, name)
		}
	}
	return nil
}

func (db *database) buildIndex() {
	if db.index != nil {
		return
	}
	db.index = make(map[string]int, len(db.list))
	for i, p := range db.list {
		db.index[p.Name+":"+p.Arch] = i
	}
}

// The fields that are kept, in deb822.Reader's order.
const (
	fPackage = iota
	fStatus
	fArch
	fVersion
	fSource
)

func (db *database) parse(src io.Reader) error {
	r := deb822.NewReader(src, deb822.Options{Fields: []string{"Package", "Status", "Architecture", "Version", "Source"}})
	for r.Next() {
		name := r.At(fPackage)
		if len(name) == 0 || len(name) > maxName {
			return fault.New(fault.Invalid, "collect/dpkg: the stanza at line %d names no package", r.Line())
		}
		p := inventory.Package{Kind: kind, Name: string(name), Version: string(r.At(fVersion)), Arch: db.arch(r.At(fArch))}
		gone := setStatus(&p, r.At(fStatus))
		p.Source, p.SourceVersion = source(r.At(fSource), p.Name, p.Version)
		db.put(p, gone)
	}
	return r.Err()
}

func (db *database) put(p inventory.Package, gone bool) {
	if i, known := db.index[p.Name+":"+p.Arch]; known {
		db.list[i], db.gone[i] = p, gone
		return
	}
	if db.index != nil {
		db.index[p.Name+":"+p.Arch] = len(db.list)
	}
	db.list, db.gone = append(db.list, p), append(db.gone, gone)
}

// arch shares the few distinct architecture names among all packages.
func (db *database) arch(b []byte) string {
	if s, ok := db.arches[string(b)]; ok {
		return s
	}
	s := string(b)
	db.arches[s] = s
	return s
}

func (db *database) installed() []inventory.Package {
	out := make([]inventory.Package, 0, len(db.list))
	for i, p := range db.list {
		if !db.gone[i] {
			out = append(out, p)
		}
	}
	return out
}

func (db *database) broken() bool {
	return slices.ContainsFunc(db.installed(), func(p inventory.Package) bool { return p.Broken != "" })
}

// setStatus reads "want flag state", dpkg(1) "package states": hold, and every state
// between not installed and installed. It reports whether nothing of the
// package but configuration files is there.
func setStatus(p *inventory.Package, b []byte) (gone bool) {
	want, rest, _ := bytes.Cut(b, []byte{' '})
	flag, state, _ := bytes.Cut(rest, []byte{' '})
	p.Hold = string(want) == "hold"
	switch string(state) {
	case "installed":
	case "", "not-installed", "config-files":
		return true
	default:
		p.Broken = string(state)
	}
	if string(flag) == "reinstreq" && p.Broken == "" {
		p.Broken = "half-installed"
	}
	return false
}

// source reads "name" or "name (version)"; parts that equal the binary
// package's stay empty.
func source(b []byte, name, version string) (string, string) {
	src, rest, _ := bytes.Cut(b, []byte{' '})
	ver := bytes.Trim(rest, " ()")
	outName, outVer := "", ""
	if len(src) > 0 && string(src) != name {
		outName = string(src)
	}
	if len(ver) > 0 && string(ver) != version {
		outVer = string(ver)
	}
	return outName, outVer
}

// architectures returns the native and the foreign ones. dpkg writes the file
// only when a foreign one was ever added, native first; else the architecture
// of dpkg itself is the native one.
func architectures(t *collect.Tree, db *database) (string, []string, error) {
	data, err := t.ReadFile(admin+"arch", 64<<10)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return "", nil, err
	}
	if words := strings.Fields(string(data)); len(words) > 0 {
		return words[0], words[1:], nil
	}
	for i, p := range db.list {
		if p.Name == "dpkg" && p.Arch != "all" && !db.gone[i] {
			return p.Arch, nil, nil
		}
	}
	return "", nil, fault.New(fault.Unsupported, "collect/dpkg: the native architecture is not known: dpkg itself is not installed")
}
