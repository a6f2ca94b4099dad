package microsoft

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
)

// monthID is the form of a document's id; some months have a second document.
var monthID = regexp.MustCompile(`^(\d{4})-(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(-[A-Z])?$`)

// Update is one entry of the API's list.
type Update struct {
	ID      string `json:"ID"`
	Current string `json:"CurrentReleaseDate"`
}

// ParseUpdates reads the API's list of documents. It refuses (Invalid) what is
// not such a list, or names no document.
func ParseUpdates(body []byte) ([]Update, error) {
	var list struct {
		Value []Update `json:"value"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "microsoft: the list of documents is no JSON")
	}
	out := list.Value[:0]
	for _, u := range list.Value {
		if monthID.MatchString(u.ID) {
			out = append(out, u)
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "microsoft: the list names no document")
	}
	return out, nil
}

// fromAPI asks for the list and brings each document whose date has changed.
func (f *fetching) fromAPI(ctx context.Context) error {
	base := strings.TrimSuffix(f.s.cfg.MSRC, "/")
	got, err := f.s.client.Get(ctx, fetch.Request{URL: base + "/updates", Accept: "application/json", Expect: fetch.NotHTML, MaxSize: 16 << 20})
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "microsoft: the list of documents can't be fetched")
	}
	all, err := ParseUpdates(got.Body)
	if err != nil {
		return err
	}
	for _, u := range all {
		if u.ID < f.s.cfg.Since || f.st.Documents[u.ID].Seen == u.Current {
			continue
		}
		f.say("fetching " + u.ID)
		err := f.fromURL(ctx, base+"/cvrf/"+u.ID, u)
		if err != nil && (crawl.Stopped(err) || ctx.Err() != nil) {
			return fault.Wrap(err, fault.Cancelled, "microsoft: stopped")
		}
		if err != nil {
			f.notes = append(f.notes, u.ID+" could not be fetched: "+fault.Public(err))
		}
	}
	return nil
}

// fromURL fetches a document to a file and folds it from there, so that memory
// does not hold it.
func (f *fetching) fromURL(ctx context.Context, address string, u Update) error {
	tmp, err := os.MkdirTemp(f.dir, "download-")
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "microsoft: no folder for a document can be made")
	}
	defer os.RemoveAll(tmp)
	file := filepath.Join(tmp, u.ID+".xml")
	request := fetch.Request{URL: address, Accept: "application/xml", Expect: fetch.NotHTML, MaxSize: msrc.MaxDocument, File: file}
	if _, err := f.s.client.Get(ctx, request); err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "microsoft: the fetched document can't be read")
	}
	defer in.Close()
	return f.month(u.ID, u.Current, in)
}

// fromFolder reads the documents in a folder and one level below that are new
// or have changed, by name, size and time.
func (f *fetching) fromFolder(ctx context.Context) error {
	root, err := os.OpenRoot(f.s.at.Path)
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "microsoft: the folder %s can't be opened", f.s.at.Path)
	}
	defer root.Close()
	names, err := documentsIn(root.FS())
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, name := range names {
		if ctx.Err() != nil {
			return fault.Wrap(ctx.Err(), fault.Cancelled, "microsoft: stopped")
		}
		there[name] = true
		if err := f.fromFile(root, name); err != nil {
			f.notes = append(f.notes, name+" is not used: "+fault.Public(err))
		}
	}
	for name := range f.st.Documents {
		if !there[name] {
			delete(f.st.Documents, name)
		}
	}
	return nil
}

// documentName is the form of a document's file name; what stands after the
// month tells several states of it apart.
var documentName = regexp.MustCompile(`^(\d{4}-[A-Z][a-z]{2}(?:-[A-Z])?)(\.[A-Za-z0-9.-]+)?\.xml(\.zst)?$`)

// advisoryName is the form of a CSAF document's file name, which holds one
// vulnerability.
var advisoryName = regexp.MustCompile(`^msrc_(?:cve|adv)-?[0-9-]+\.json(\.zst)?$`)

func documentsIn(dir fs.FS) ([]string, error) {
	var out []string
	for _, pattern := range []string{"*", "*/*"} {
		all, err := fs.Glob(dir, pattern)
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "microsoft: the folder can't be listed")
		}
		for _, name := range all {
			if base := strings.ToLower(name[strings.LastIndexByte(name, '/')+1:]); advisoryName.MatchString(base) || documentName.MatchString(name[strings.LastIndexByte(name, '/')+1:]) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

func (f *fetching) fromFile(root *os.Root, name string) error {
	if name[strings.LastIndexByte(name, '/')+1:] < f.s.cfg.Since {
		return nil
	}
	in, err := root.Open(name)
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "microsoft: the file can't be opened")
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "microsoft: the file can't be read")
	}
	seen := crawl.FileVersion(info)
	if f.st.Documents[name].Seen == seen {
		return nil
	}
	f.say("reading " + name)
	r, err := crawl.Unpack(name, in)
	if err != nil {
		return err
	}
	defer r.Close()
	return f.month(name, seen, r)
}
