package updatecatalog

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
)

// DefaultURL is Microsoft's own address of the Update Catalog.
const DefaultURL = "https://www.catalog.update.microsoft.com"

// Client fetches pages; *fetch.Client is it.
type Client interface {
	Get(ctx context.Context, r fetch.Request) (fetch.Response, error)
}

// Update is what the catalog says of one update, from its three pages. Its
// JSON form is what the crawler keeps.
type Update struct {
	ID             string    `json:"id"` // GUID
	Title          string    `json:"title"`
	KB             string    `json:"kb"` // digits alone
	Classification string    `json:"class,omitempty"`
	Severity       string    `json:"severity,omitempty"`
	Restart        string    `json:"restart,omitempty"`
	Updated        time.Time `json:"updated,omitzero"`
	Size           int64     `json:"size,omitempty"` // bytes of all its files
	// Replaces and ReplacedBy are KBs, digits alone, with the titles that name
	// them: the same KB serves many releases.
	Replaces   []Other `json:"replaces,omitempty"`
	ReplacedBy []Other `json:"replaced_by,omitempty"`
	Files      []File  `json:"files,omitempty"`
}

// Other is another update that a page names.
type Other struct {
	KB    string `json:"kb"`
	Title string `json:"title"`
}

// File is one file of an update.
type File struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	SHA1   string `json:"sha1,omitempty"`   // lower-case hex
	SHA256 string `json:"sha256,omitempty"` // lower-case hex
}

// Ask asks the catalog for the updates of a KB, one page after the other, and
// for the details and files of those that wanted takes by their title.
// fault.Invalid means that a page is not of the form that is known.
func Ask(ctx context.Context, client Client, address, number string, wanted func(title string) bool) ([]Update, error) {
	address = strings.TrimSuffix(address, "/")
	page := func(path string, form url.Values) ([]byte, error) {
		got, err := client.Get(ctx, fetch.Request{URL: address + path, Form: form, MaxSize: maxPage})
		return got.Body, err
	}
	body, err := page("/Search.aspx?q=KB"+number, nil)
	if err != nil {
		return nil, err
	}
	found, err := ParseSearch(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	var out []Update
	for _, f := range found {
		if !wanted(f.Title) {
			continue
		}
		u := Update{ID: f.UpdateID, Title: f.Title, KB: number, Classification: f.Classification, Updated: f.Updated, Size: f.Size}
		if body, err = page("/ScopedViewInline.aspx?updateid="+f.UpdateID, nil); err != nil {
			return nil, err
		}
		if err := u.details(body); err != nil {
			return nil, err
		}
		question := `[{"size":0,"languages":"","uidInfo":"` + f.UpdateID + `","updateID":"` + f.UpdateID + `"}]`
		if body, err = page("/DownloadDialog.aspx", url.Values{"updateIDs": {question}}); err != nil {
			return nil, err
		}
		if err := u.files(body); err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

func (u *Update) details(page []byte) error {
	d, err := ParseDetails(bytes.NewReader(page))
	if err != nil {
		return err
	}
	if d.Title != u.Title {
		return fault.New(fault.Invalid, "updatecatalog: the details of %s are those of %q", u.ID, d.Title)
	}
	u.Severity, u.Restart = d.Severity, d.Restart
	for _, pair := range []struct {
		from []Named
		to   *[]Other
	}{{d.Replaces, &u.Replaces}, {d.ReplacedBy, &u.ReplacedBy}} {
		for _, n := range pair.from {
			if n.KB != "" && n.KB != u.KB {
				*pair.to = append(*pair.to, Other{KB: n.KB, Title: n.Title})
			}
		}
	}
	return nil
}

func (u *Update) files(page []byte) error {
	all, err := ParseDownload(bytes.NewReader(page))
	if err != nil {
		return err
	}
	for _, f := range all {
		u.Files = append(u.Files, File{Name: f.FileName, URL: f.URL, SHA1: digest(f.SHA1, 20), SHA256: digest(f.SHA256, 32)})
	}
	return nil
}

// digest turns base64 into lower-case hex; it is empty for another length.
func digest(text string, size int) string {
	sum, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(sum) != size {
		return ""
	}
	return hex.EncodeToString(sum)
}
