package scan

import (
	"encoding/json"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/cabinet"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// Scan is what the offline scan file holds, folded. Its JSON form is what
// Fetch keeps.
type Scan struct {
	Updates []*Update `json:"updates"`
	Counts  Counts    `json:"counts"`
	// Proof is what its own signature came to; nil when none was asked for.
	Proof *crawl.Proof `json:"proof,omitempty"`
}

// Counts says what the file held and where it went.
type Counts struct {
	Cabinets  int `json:"cabinets"`  // in the outer one
	Updates   int `json:"updates"`   // in package.xml
	Early     int `json:"early"`     // left out as older than wanted
	Fragments int `json:"fragments"` // read, of the updates that are kept
	Strange   int `json:"strange"`   // fragments that are not well-formed
	Locations int `json:"locations"` // addresses of files that are kept
}

// Update is one revision of an update, a category or a detectoid.
type Update struct {
	ID       string    `json:"id"`   // GUID, lower case
	Revision uint32    `json:"rev"`  // unique in the file
	Number   int       `json:"n"`    // revision number of the update
	Created  time.Time `json:"t"`    //
	Leaf     bool      `json:"leaf"` // no other asks for it
	Bundled  bool      `json:"in,omitempty"`
	Type     string    `json:"type,omitempty"` // Software, Category, Detectoid
	Class    string    `json:"class,omitempty"`
	// Prerequisites must all hold; one of several holds when any does.
	Prerequisites [][]string `json:"pre,omitempty"`
	Bundles       []string   `json:"bundle,omitempty"`   // ids of what it consists of
	Replaces      []string   `json:"replaces,omitempty"` // ids

	// Installed and Installable are detection rules; Refused says why there
	// are none.
	Installed   json.RawMessage `json:"is,omitempty"`
	Installable json.RawMessage `json:"can,omitempty"`
	Refused     string          `json:"refused,omitempty"`

	Title    string `json:"title,omitempty"`
	KB       string `json:"kb,omitempty"`
	Bulletin string `json:"bulletin,omitempty"`
	Severity string `json:"severity,omitempty"`
	Reboot   string `json:"reboot,omitempty"`
	Handler  string `json:"handler,omitempty"` // last word of the handler's name
	Files    []File `json:"files,omitempty"`
	Program  string `json:"program,omitempty"`
	Argument string `json:"args,omitempty"`
	Codes    []Code `json:"codes,omitempty"`
}

// File is a payload.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA1   string `json:"sha1"` // lower-case hex
	SHA256 string `json:"sha256,omitempty"`
	URL    string `json:"url,omitempty"`
}

// Code is a return code of a command.
type Code struct {
	Code   int    `json:"c"`
	Result string `json:"r"`
	Reboot bool   `json:"b,omitempty"`
}

// Bounds. The real file has some 150,000 updates in about 20 cabinets.
const (
	maxUpdates  = 1 << 20
	maxFragment = 8 << 20 // bytes
	maxTotal    = 64 << 30
	indexName   = "package.cab"
	indexFile   = "package.xml"
)

// Parse reads the file as a stream: cabinets in it are read from its own
// stream, and only what patches are made of is kept. Updates created before
// since are left out, unless others ask for them. It returns fault.Invalid for
// what is no offline scan file.
func Parse(r io.Reader, since time.Time) (Scan, error) {
	p := &parser{since: since, byRevision: map[uint32]*Update{}}
	outer, err := cabinet.NewReader(io.LimitReader(r, maxTotal))
	if err != nil {
		return Scan{}, fault.Wrap(err, fault.CodeOf(err), "scan: the offline scan file can't be read")
	}
	for {
		f, err := outer.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = p.cabinet(outer, f.Name)
		}
		if err != nil {
			return Scan{}, fault.Wrap(err, fault.CodeOf(err), "scan: the offline scan file can't be read")
		}
	}
	if !p.indexed {
		return Scan{}, fault.New(fault.Invalid, "scan: it is no offline scan file: it has no %s with %s", indexName, indexFile)
	}
	return p.scan()
}

type parser struct {
	since      time.Time
	counts     Counts
	indexed    bool
	byRevision map[uint32]*Update
	order      []*Update
	located    map[string]string // base64 digest -> address
	wantedFile map[string]bool   // base64 digests of files that are kept
}

// cabinet reads one inner cabinet; other files are passed over.
func (p *parser) cabinet(r io.Reader, name string) error {
	if strings.ToLower(path.Ext(name)) != ".cab" {
		return nil
	}
	inner, err := cabinet.NewReader(r)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "scan: %s", name)
	}
	p.counts.Cabinets++
	isIndex := strings.EqualFold(path.Base(name), indexName)
	if !isIndex && !p.indexed {
		return fault.New(fault.Unsupported, "scan: %s stands in front of %s", name, indexName)
	}
	for {
		f, err := inner.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = p.file(inner, f.Name, isIndex)
		}
		if err != nil {
			return fault.Wrap(err, fault.CodeOf(err), "scan: %s", name)
		}
	}
}

// file reads the index, or a fragment: c/123 has the rules, x/123 the files,
// l/en/123 the title of revision 123.
func (p *parser) file(r io.Reader, name string, isIndex bool) error {
	if isIndex {
		if !strings.EqualFold(name, indexFile) {
			return nil
		}
		p.indexed = true
		return p.index(r)
	}
	dir, base := path.Split(name)
	revision, err := strconv.ParseUint(base, 10, 32)
	if err != nil {
		return nil //nolint:nilerr // eulas and other files
	}
	u := p.byRevision[uint32(revision)]
	if u == nil {
		return nil
	}
	var read func(io.Reader, *Update) error
	switch strings.ToLower(dir) {
	case "c/":
		read = core
	case "x/":
		read = extended
	case "l/en/":
		read = localized
	default:
		return nil
	}
	p.counts.Fragments++
	if err := read(io.LimitReader(r, maxFragment), u); err != nil {
		if fault.CodeOf(err) != fault.Internal { // of the cabinet
			return err
		}
		p.counts.Strange++
		u.Refused = "one of its fragments is not well-formed, or larger than 8 MiB"
	}
	return nil
}

// scan closes the reading.
func (p *parser) scan() (Scan, error) {
	for _, u := range p.order {
		for i := range u.Files {
			u.Files[i].URL = p.located[u.Files[i].SHA1]
			if u.Files[i].URL != "" {
				p.counts.Locations++
			}
		}
	}
	return Scan{Updates: p.order, Counts: p.counts}, nil
}
