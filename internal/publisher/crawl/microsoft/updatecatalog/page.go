// Package updatecatalog reads the pages of the Microsoft Update Catalog: what a
// search finds, an update's details, and where its files are.
//
// The catalog has no interface for programs, so these are pages for people. A
// page of another form is refused (fault.Invalid), never read for half.
package updatecatalog

import (
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"

	"github.com/fettlehq/fettle/internal/fault"
)

// maxPage bounds a page of the Update Catalog in bytes.
const maxPage = 16 << 20

// Found is one line of the Update Catalog's search results.
type Found struct {
	UpdateID       string // GUID
	Title          string
	Products       string
	Classification string
	Updated        time.Time
	Size           int64 // bytes
}

// Details is what the Update Catalog says of one update.
type Details struct {
	Title          string
	KBs            []string // digits alone
	Description    string
	Architecture   string // AMD64, n/a
	Classification string
	Products       string
	Severity       string
	Restart        string // "Can request restart"
	Updated        time.Time
	// Replaces and ReplacedBy name other updates; those that the page links
	// have their GUID.
	Replaces, ReplacedBy []Named
}

// Named is another update as a page names it.
type Named struct{ UpdateID, Title, KB string }

// Download is one file of an update.
type Download struct {
	URL      string
	FileName string
	SHA1     string // base64, as the page has it
	SHA256   string // base64; empty where the page gives none
	Arch     string
}

var (
	guid       = regexp.MustCompile(`^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`)
	updateLink = regexp.MustCompile(`[?&]updateid=([0-9a-fA-F-]{36})`)
	kbInTitle  = regexp.MustCompile(`\(KB(\d{6,8})\)`)
	assignment = regexp.MustCompile(`downloadInformation\[(\d{1,4})\]\.files\[(\d{1,4})\]\.(\w+)\s*=\s*'((?:[^'\\]|\\.)*)'`)
)

// kbNumber is a KB number alone.
var kbNumber = regexp.MustCompile(`^(?:KB)?0*([1-9]\d{5,7})$`)

// kb reads a KB number; it is empty for other text.
func kb(s string) string {
	if m := kbNumber.FindStringSubmatch(strings.TrimSpace(s)); m != nil {
		return m[1]
	}
	return ""
}

// readPage parses a page within maxPage.
func readPage(r io.Reader) (*html.Node, error) {
	n, err := html.Parse(io.LimitReader(r, maxPage))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "updatecatalog: the Update Catalog's page can't be read")
	}
	return n, nil
}

// ParseSearch reads the results of Search.aspx?q=KB.... A page without any is
// an empty list when it says that nothing was found, else Invalid.
func ParseSearch(r io.Reader) ([]Found, error) {
	page, err := readPage(r)
	if err != nil {
		return nil, err
	}
	var out []Found
	walk(page, func(n *html.Node) {
		if n.Data != "tr" || !guid.MatchString(attribute(n, "id")) {
			return
		}
		id := guid.FindString(attribute(n, "id"))
		f := Found{UpdateID: strings.ToLower(id)}
		walk(n, func(c *html.Node) {
			at := strings.TrimPrefix(attribute(c, "id"), id)
			switch {
			case strings.HasPrefix(at, "_C1_"):
				f.Title = textOf(c)
			case strings.HasPrefix(at, "_C2_"):
				f.Products = textOf(c)
			case strings.HasPrefix(at, "_C3_"):
				f.Classification = textOf(c)
			case strings.HasPrefix(at, "_C4_"):
				f.Updated = usDate(textOf(c))
			case at == "_originalSize":
				if n, err := strconv.ParseInt(textOf(c), 10, 64); err == nil && n >= 0 {
					f.Size = n
				}
			}
		})
		out = append(out, f)
	})
	if len(out) == 0 && byID(page, "ctl00_catalogBody_noResultText") == nil {
		return nil, fault.New(fault.Invalid, "updatecatalog: it is no page of search results")
	}
	return out, nil
}

// ParseDetails reads ScopedViewInline.aspx?updateid=.... It returns Invalid for
// another page.
func ParseDetails(r io.Reader) (Details, error) {
	page, err := readPage(r)
	if err != nil {
		return Details{}, err
	}
	title := byID(page, "ScopedViewHandler_titleText")
	if title == nil {
		return Details{}, fault.New(fault.Invalid, "updatecatalog: it is no page of update details")
	}
	get := func(id string) string { return textOf(byID(page, id)) }
	labelled := func(id string) string { // the text after the label
		_, value, _ := strings.Cut(get(id), ":")
		return strings.TrimSpace(value)
	}
	d := Details{
		Title: textOf(title), Description: get("ScopedViewHandler_desc"), Architecture: labelled("archDiv"),
		Classification: labelled("classificationDiv"), Products: labelled("productsDiv"), Severity: get("ScopedViewHandler_msrcSeverity"),
		Restart: get("ScopedViewHandler_rebootBehavior"), Updated: usDate(get("ScopedViewHandler_date")),
		Replaces: namedIn(byID(page, "supersedesInfo")), ReplacedBy: namedIn(byID(page, "supersededbyInfo")),
	}
	for _, word := range strings.FieldsFunc(labelled("kbDiv"), func(r rune) bool { return r == ',' || r == ' ' }) {
		if n := kb(word); n != "" {
			d.KBs = append(d.KBs, n)
		}
	}
	return d, nil
}

// ParseDownload reads the script in DownloadDialog.aspx, which assigns each
// file's address, name and digests. It returns Invalid when there is none.
func ParseDownload(r io.Reader) ([]Download, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxPage))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "updatecatalog: the download page can't be read")
	}
	var keys []string
	files := map[string]*Download{}
	for _, m := range assignment.FindAllSubmatch(body, -1) {
		key := string(m[1]) + "." + string(m[2])
		if files[key] == nil {
			files[key] = &Download{}
			keys = append(keys, key)
		}
		f, value := files[key], html.UnescapeString(string(m[4]))
		switch string(m[3]) {
		case "url":
			f.URL = value
		case "fileName":
			f.FileName = value
		case "digest":
			f.SHA1 = value
		case "sha256":
			f.SHA256 = value
		case "architectures":
			f.Arch = value
		}
	}
	var out []Download
	for _, k := range keys {
		if f := files[k]; strings.HasPrefix(f.URL, "https://") || strings.HasPrefix(f.URL, "http://") {
			out = append(out, *f)
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "updatecatalog: the page names no file to download")
	}
	return out, nil
}

// namedIn lists the updates in a box: one to a div, linked or not.
func namedIn(box *html.Node) []Named {
	if box == nil {
		return nil
	}
	var out []Named
	for c := box.FirstChild; c != nil; c = c.NextSibling {
		title := textOf(c)
		if c.Type != html.ElementNode || title == "" || title == "n/a" {
			continue
		}
		n := Named{Title: title}
		if m := kbInTitle.FindStringSubmatch(title); m != nil {
			n.KB = m[1]
		}
		walk(c, func(a *html.Node) {
			if m := updateLink.FindStringSubmatch(attribute(a, "href")); m != nil {
				n.UpdateID = strings.ToLower(m[1])
			}
		})
		out = append(out, n)
	}
	return out
}

// usDate reads "5/9/2023"; it is zero for anything else.
func usDate(s string) time.Time {
	t, err := time.Parse("1/2/2006", s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// walk visits the elements below n and n itself, parents first. It keeps its
// own stack: pages may be nested as deep as they are long.
func walk(n *html.Node, visit func(*html.Node)) {
	todo := []*html.Node{n}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if n.Type == html.ElementNode {
			visit(n)
		}
		for c := n.LastChild; c != nil; c = c.PrevSibling {
			todo = append(todo, c)
		}
	}
}

func byID(n *html.Node, id string) *html.Node {
	var found *html.Node
	walk(n, func(c *html.Node) {
		if found == nil && attribute(c, "id") == id {
			found = c
		}
	})
	return found
}

func attribute(n *html.Node, name string) string {
	i := slices.IndexFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
	if i < 0 {
		return ""
	}
	return n.Attr[i].Val
}

// textOf is the text below a node with single spaces.
func textOf(n *html.Node) string {
	if n == nil {
		return ""
	}
	var b strings.Builder
	todo := []*html.Node{n}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if n.Type == html.TextNode {
			b.WriteString(n.Data + " ")
		}
		for c := n.LastChild; c != nil; c = c.PrevSibling {
			todo = append(todo, c)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
