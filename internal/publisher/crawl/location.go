package crawl

import (
	"net"
	"net/url"
	"path/filepath"

	"github.com/fettlehq/fettle/internal/fault"
)

// Location is where a source's documents lie.
type Location struct {
	// Text is what the operator wrote.
	Text string
	// Path is the absolute path of a file or folder of this machine; empty
	// means an address in the network.
	Path string
	url  *url.URL
}

// ParseLocation reads an absolute path, or an address with http, https or file.
// It returns fault.Invalid for anything else.
func ParseLocation(text string) (Location, error) {
	if filepath.IsAbs(text) {
		return Location{Text: text, Path: text}, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && filepath.IsAbs(filepath.FromSlash(u.Path)):
		return Location{Text: text, Path: filepath.FromSlash(u.Path), url: u}, nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return Location{Text: text, url: u}, nil
	}
	return Location{}, fault.New(fault.Invalid, "crawl: %q is no address (http, https, file) and no absolute path", clip(text))
}

// Client is the client that a source at the location fetches with. What lies in
// the network is written by other people: it may never name files of this
// machine (Remote).
func (l Location) Client(c Client) Client {
	if l.Path == "" {
		return Remote(c)
	}
	return c
}

// Open says that the documents come over plain http from another machine, so
// that anybody on the way can change them.
func (l Location) Open() bool {
	if l.Path != "" || l.url == nil || l.url.Scheme != "http" {
		return false
	}
	host := l.url.Hostname()
	return host != "localhost" && !net.ParseIP(host).IsLoopback()
}

// clip keeps messages short.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
