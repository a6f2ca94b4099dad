package sdp

import (
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/cabinet"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

const (
	rootElement    = "SoftwareDistributionPackage"
	catalogElement = "SystemsManagementCatalog"
)

// Bounds of a catalog: HP's has some 1,500 packages, Dell's a few thousand.
const (
	maxPackages = 100_000
	maxCatalog  = 4 << 30 // bytes, unpacked
	maxNested   = 2       // cabinets in cabinets
)

// Catalog is what a vendor's catalog holds. Its JSON form is what Fetch keeps.
type Catalog struct {
	Packages []Package `json:"packages"`
	// Proof is what its own signature came to; nil when none was asked for.
	Proof *crawl.Proof `json:"proof,omitempty"`
	// Refused are packages of which no patch can be made, with the reason.
	Refused []Refusal `json:"refused,omitempty"`
}

// Refusal is a package that can't be used.
type Refusal struct {
	Package string `json:"package"`
	Reason  string `json:"reason"`
}

// ParseCatalog reads packages out of a stream: a cabinet with packages (.sdp)
// or catalogs (.xml) in it, or one such document by itself. Packages that can't
// be used are listed as refused; it returns fault.Invalid for what holds no
// package at all.
func ParseCatalog(r io.Reader) (Catalog, error) {
	var c Catalog
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return c, fault.Wrap(err, fault.Unavailable, "sdp: the catalog can't be read")
	}
	all := io.LimitReader(io.MultiReader(strings.NewReader(string(head[:n])), r), maxCatalog)
	if string(head[:n]) == "MSCF" {
		err = c.cabinet(all, 0)
	} else {
		err = c.document(all, "the document")
	}
	if err != nil {
		return Catalog{}, err
	}
	return c, c.check()
}

// ParseFolder reads the packages and catalogs in a folder and below it.
func ParseFolder(root *os.Root) (Catalog, error) {
	var c Catalog
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return c.file(f, name, 0)
	})
	if err != nil {
		return Catalog{}, fault.Wrap(err, fault.CodeOf(err), "sdp: the folder can't be read")
	}
	return c, c.check()
}

func (c *Catalog) check() error {
	if len(c.Packages) == 0 {
		return fault.New(fault.Invalid, "sdp: the catalog holds no software distribution package that can be used")
	}
	return nil
}

// cabinet reads every document in a cabinet.
func (c *Catalog) cabinet(r io.Reader, depth int) error {
	cab, err := cabinet.NewReader(r)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "sdp: the catalog's cabinet can't be read")
	}
	for {
		f, err := cab.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.Wrap(err, fault.CodeOf(err), "sdp: the catalog's cabinet can't be read")
		}
		if err := c.file(cab, f.Name, depth); err != nil {
			return err
		}
	}
}

// file reads a file by its name's end; others than packages, catalogs and
// cabinets are passed over.
func (c *Catalog) file(r io.Reader, name string, depth int) error {
	switch strings.ToLower(path.Ext(name)) {
	case ".sdp", ".xml":
		return c.document(r, name)
	case ".cab":
		if depth < maxNested {
			return c.cabinet(r, depth+1)
		}
	}
	return nil
}

// document reads the packages in an XML document, one at a time. A document
// that is not well-formed is refused by its name; the others stay.
func (c *Catalog) document(r io.Reader, name string) error {
	in := &bounded{r: r}
	dec := xml.NewDecoder(in)
	for {
		in.left = maxPackage
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return c.refuse(name, err)
		}
		e, starts := t.(xml.StartElement)
		if !starts || e.Name.Local == catalogElement {
			continue
		}
		if e.Name.Local != rootElement {
			if err := dec.Skip(); err != nil {
				return c.refuse(name, err)
			}
			continue
		}
		var x xmlPackage
		if err := dec.DecodeElement(&x, &e); err != nil {
			return c.refuse(name, err)
		}
		if err := c.add(x, name); err != nil {
			return err
		}
	}
}

// bounded ends a document of which one package, or one word, is larger than any
// is: what unpacks a thousandfold must not be held in memory.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("sdp: a package is too large")
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// refuse lists a document that can't be read, unless what carries it failed.
func (c *Catalog) refuse(name string, err error) error {
	if code := fault.CodeOf(err); code != fault.Internal {
		return err
	}
	c.Refused = append(c.Refused, Refusal{Package: name, Reason: "it is not well-formed"})
	return nil
}

func (c *Catalog) add(x xmlPackage, name string) error {
	if len(c.Packages)+len(c.Refused) >= maxPackages {
		return fault.New(fault.Invalid, "sdp: the catalog has more than %d packages", maxPackages)
	}
	p, err := x.read()
	switch {
	case err != nil:
		c.Refused = append(c.Refused, Refusal{Package: strings.TrimSpace(name + " " + p.ID), Reason: fault.Public(err)})
	case slices.ContainsFunc(p.Items, func(i Item) bool { return i.Kind == "" }):
		c.Refused = append(c.Refused, Refusal{Package: p.ID, Reason: "its installer is of a kind that is not known"})
	case len(p.Items) == 0:
		c.Refused = append(c.Refused, Refusal{Package: p.ID, Reason: "it installs nothing"})
	default:
		c.Packages = append(c.Packages, p)
	}
	return nil
}
