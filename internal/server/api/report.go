package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fettlehq/fettle/internal/deploy"
)

type reportIn struct {
	TenantPath
	Kind       string    `path:"kind" enum:"tasks,missing,hosts,approvals"`
	Format     string    `query:"format" enum:"json,csv,html" default:"json"`
	Deployment string    `query:"deployment" maxLength:"63" doc:"Tasks of one deployment alone"`
	From       time.Time `query:"from" doc:"Tasks and decisions made at or after it"`
	To         time.Time `query:"to" doc:"Tasks and decisions made before it"`
}

func mediaType(format string) string {
	switch format {
	case "csv":
		return "text/csv; charset=utf-8; header=present"
	case "html":
		return "text/html; charset=utf-8"
	}
	return "application/json"
}

func (a *API) report(ctx context.Context, in *reportIn) (*huma.StreamResponse, error) {
	if in.Deployment != "" {
		if _, err := a.withCounts(ctx, deploy.ID(in.Deployment)); err != nil {
			return nil, err
		}
	}
	name := "fettle-" + in.Kind + "-" + a.Now().UTC().Format("20060102") + "." + in.Format
	return a.download(mediaType(in.Format), name, func(w io.Writer) error {
		return a.Reports.Write(ctx, w, in.tenant(), in.Kind, in.Format, deploy.ID(in.Deployment), in.From, in.To)
	}), nil
}

// download streams a file. Nothing is sent before its first bytes are there,
// so that a failure at the beginning is still answered as one; a later one
// breaks the connection, so that half a file is never taken for the whole.
func (a *API) download(media, name string, write func(io.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		f := &file{w: w, control: http.NewResponseController(w), media: media, name: name}
		err := write(f)
		switch {
		case err == nil:
			f.begin() // an empty file is a file
		case !f.begun:
			a.answer(w, r, err)
		default:
			a.Log.Error("a download broke off", "name", name, "error", err)
			panic(http.ErrAbortHandler)
		}
	}}
}

// file is a response that begins with its first byte.
type file struct {
	w           http.ResponseWriter
	control     *http.ResponseController
	media, name string
	begun       bool
}

func (f *file) begin() {
	if f.begun {
		return
	}
	f.begun = true
	h := f.w.Header()
	h.Set("Content-Type", f.media)
	// The page carries its own style and nothing else.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("Content-Disposition", "inline; filename="+strconv.Quote(f.name))
	f.w.WriteHeader(http.StatusOK)
}

// Write sends bytes.
func (f *file) Write(b []byte) (int, error) {
	f.begin()
	// Not every writer has deadlines; the server's own then counts.
	_ = f.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	return f.w.Write(b)
}
