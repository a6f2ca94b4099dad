package fetch

import (
	"bytes"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// Expect is the form that an answer must have. Portals, proxies and broken servers answer a page for people with status
// 200; parsing that would look like a vendor without patches.
type Expect int

// The forms. Anything takes every answer, also HTML.
const (
	Anything Expect = iota
	JSON
	XML
	NotHTML
)

// check returns a fault.Invalid when data has another form. The content decides, as many servers mislabel theirs; the
// media type only settles that an empty or odd body is HTML.
func (e Expect) check(contentType string, data []byte) error {
	if e == Anything {
		return nil
	}
	start := bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	if isHTML(contentType, start) {
		return fault.New(fault.Invalid, "the server answered a web page (%s) instead of data", title(start)).WithHint("a proxy or sign-in portal may stand in between; open the address in a browser")
	}
	ok, name := true, ""
	switch e {
	case JSON:
		ok, name = len(start) > 0 && (start[0] == '{' || start[0] == '['), "JSON"
	case XML:
		ok, name = len(start) > 0 && start[0] == '<', "XML"
	}
	if !ok {
		return fault.New(fault.Invalid, "the server answered something that is not %s: %.40q", name, start)
	}
	return nil
}

func isHTML(contentType string, start []byte) bool {
	head := strings.ToLower(string(start[:min(len(start), 512)]))
	if strings.HasPrefix(head, "<!doctype html") || strings.HasPrefix(head, "<html") {
		return true
	}
	return strings.HasPrefix(strings.ToLower(contentType), "text/html") && !strings.HasPrefix(head, "{") && !strings.HasPrefix(head, "[") && !strings.HasPrefix(head, "<?xml")
}

// title finds the page's title for the message.
func title(page []byte) string {
	text := string(page[:min(len(page), 4096)])
	low := strings.ToLower(text)
	i := strings.Index(low, "<title>")
	if i < 0 || len(low) != len(text) {
		return "without a title"
	}
	text = text[i+len("<title>"):]
	if j := strings.IndexByte(text, '<'); j >= 0 {
		text = text[:j]
	}
	return "titled \"" + strings.Join(strings.Fields(text[:min(len(text), 80)]), " ") + "\""
}
