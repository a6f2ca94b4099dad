// Package web serves the console: the files that Vite built into dist, or a
// plain page where the binary was built without Node.
package web

import (
	"bytes"
	"crypto/rand"
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// dist always exists: its .keep is checked in, the rest is built by npm.
//
//go:embed all:dist
var dist embed.FS

//go:embed placeholder.html
var placeholder []byte

// nonceMark stands in index.html where each answer puts a nonce of its own.
const nonceMark = "FETTLE_NONCE"

// Handler serves the console under "/". A path that names no file and has no
// extension, or a patch, is a page of the console and gets index.html; unknown files,
// and everything below /api/, get 404. Only GET and HEAD are answered.
//
// Every answer carries a Content-Security-Policy that allows nothing but this
// server: no inline script, and style elements only with the nonce that is
// made anew for each page (CSP Level 3, section 2.3.1).
func Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil { // only for an invalid path, and "dist" is none
		panic(err)
	}
	return handler(files)
}

// handler serves a built console; tests hand in one of their own.
func handler(files fs.FS) http.Handler {
	page, err := fs.ReadFile(files, "index.html")
	if err != nil {
		page = placeholder
	}
	return &console{page: page, files: files, static: http.FileServerFS(files)}
}

// console is the handler.
type console struct {
	page   []byte
	files  fs.FS
	static http.Handler
}

// ServeHTTP implements http.Handler.
func (c *console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the console is only read: use GET", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	switch {
	case name == "index.html" || c.isPage(name):
		c.servePage(w, r)
	case c.isFile(name):
		c.serveFile(w, r, name)
	default:
		harden(w.Header(), "")
		http.Error(w, "there is no such file", http.StatusNotFound)
	}
}

// isPage reports whether the name belongs to the console's own router. The
// names of patches have dots, and no file is called like them.
func (c *console) isPage(name string) bool {
	return (path.Ext(name) == "" || strings.HasPrefix(name, "patches/")) && name != "api" && !strings.HasPrefix(name, "api/")
}

// isFile reports whether a file of the name was built. Hidden files are not
// the console's.
func (c *console) isFile(name string) bool {
	info, err := fs.Stat(c.files, name)
	return err == nil && info.Mode().IsRegular() && !strings.HasPrefix(path.Base(name), ".")
}

// servePage sends index.html, fresh each time because of the nonce.
func (c *console) servePage(w http.ResponseWriter, r *http.Request) {
	nonce := rand.Text()
	harden(w.Header(), nonce)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if r.Method == http.MethodGet {
		_, _ = w.Write(bytes.ReplaceAll(c.page, []byte(nonceMark), []byte(nonce)))
	}
}

// serveFile sends a built file. Vite puts a hash of the content into the names
// of everything below assets/, so those never change.
func (c *console) serveFile(w http.ResponseWriter, r *http.Request, name string) {
	harden(w.Header(), "")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	if strings.HasPrefix(name, "assets/") {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	c.static.ServeHTTP(w, r)
}

// harden sets the headers that keep a browser to what the console needs.
func harden(h http.Header, nonce string) {
	style := "'self'"
	if nonce != "" {
		style += " 'nonce-" + nonce + "'"
	}
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src "+style+
		"; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
}
