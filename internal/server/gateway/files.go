package gateway

import (
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/fault"
)

// repo serves the mirrored repository, byte for byte, for the agent's own
// verification. The metadata is small and changes; targets never change.
func (g *Gateway) repo(w http.ResponseWriter, r *http.Request, _ peer) error {
	name := r.PathValue("path")
	if name != path.Clean(name) || strings.HasPrefix(name, "/") || strings.Contains(name, "\\") ||
		!strings.HasPrefix(name, "metadata/") && !strings.HasPrefix(name, "targets/") {
		return fault.New(fault.NotFound, "the repository has no such file")
	}
	f, err := g.cfg.Repository.OpenFile(name)
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "the repository has no such file")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return fault.New(fault.NotFound, "the repository has no such file")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}

// blob serves a payload by hash, with Range. An agent gets what the catalog
// needs everywhere and what its own open tasks name, nothing else: a hash
// alone opens nothing.
func (g *Gateway) blob(w http.ResponseWriter, r *http.Request, p peer) error {
	sum := r.PathValue("sha256")
	if !isHash(sum) {
		return fault.New(fault.Invalid, "a payload is named by its SHA-256 in lower-case hex")
	}
	want, err := g.mayHave(r, p, sum)
	if err != nil {
		return err
	}
	f, size, err := g.cfg.Payloads.Get(blob.Key(sum))
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "the payload is not here")
	}
	defer f.Close()
	if want >= 0 && size != want {
		g.cfg.Doubt(sum)
		return fault.New(fault.Unavailable, "the payload has %d bytes on the server's disk and should have %d", size, want).
			WithHint("the server looks at it and fetches it anew; the task goes on by itself with its next attempt")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+sum+`"`)
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

// mayHave returns the size in bytes of a payload that the endpoint may have, -1
// when only its hash is known. NotFound for any other.
func (g *Gateway) mayHave(r *http.Request, p peer, sum string) (int64, error) {
	if g.cfg.Repository.Serves(sum) {
		return -1, nil
	}
	size, mine, err := g.cfg.Store.NeedsPayload(r.Context(), p.tenant, p.endpoint, sum)
	if err == nil && !mine {
		err = fault.New(fault.NotFound, "no task of this endpoint needs the payload")
	}
	return size, err
}
