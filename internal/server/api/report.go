package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
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

// AuditEntry is one row of the audit log. Hash is over Prev and the rest.
type AuditEntry struct {
	Seq    int64     `json:"seq"`
	Tenant string    `json:"tenant,omitempty"`
	At     time.Time `json:"at"`
	Kind   string    `json:"kind" doc:"Of the actor: user, key, local or system"`
	Actor  string    `json:"actor"`
	Action string    `json:"action"`
	Object string    `json:"object"`
	Detail string    `json:"detail,omitempty"`
	Prev   string    `json:"prev"`
	Hash   string    `json:"hash"`
}

func (a *API) auditLog(ctx context.Context, in *struct {
	TenantPath
	Paging
},
) (*listed[AuditEntry], error) {
	return a.entries(ctx, in.Paging)
}

func (a *API) serverAuditLog(ctx context.Context, in *Paging) (*listed[AuditEntry], error) {
	return a.entries(ctx, *in)
}

// entries reads the chain of the request's tenant, or the server's own.
func (a *API) entries(ctx context.Context, in Paging) (*listed[AuditEntry], error) {
	before := int64(0)
	if in.After != "" {
		n, err := strconv.ParseInt(in.After, 10, 64)
		if err != nil || n < 1 {
			return nil, fault.New(fault.Invalid, "the cursor of the list is not one that this server gave").WithHint("begin the list again without a cursor")
		}
		before = n
	}
	limit := max(in.Limit, 1)
	var out []AuditEntry
	err := a.Audit.Recent(ctx, of(ctx).scope.Tenant, before, limit, func(doc []byte) error {
		var e AuditEntry
		if err := json.Unmarshal(doc, &e); err != nil {
			return fault.Wrap(err, fault.Internal, "an entry of the audit log can't be read").WithHint("'fettle audit verify' names the first that was changed")
		}
		out = append(out, e)
		return nil
	})
	next := ""
	if len(out) == limit && out[limit-1].Seq > 1 {
		next = strconv.FormatInt(out[limit-1].Seq, 10)
	}
	return pageOf(out, next), err
}

func (a *API) auditExport(ctx context.Context, in *TenantPath) (*huma.StreamResponse, error) {
	return a.download("application/x-ndjson", "fettle-audit-"+in.Tenant+".ndjson", func(w io.Writer) error {
		return a.Audit.Export(ctx, in.tenant(), w)
	}), nil
}

func (a *API) serverAuditExport(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
	return a.download("application/x-ndjson", "fettle-audit.ndjson", func(w io.Writer) error {
		return a.Audit.Export(ctx, "", w)
	}), nil
}

// AuditVerdict is what checking the audit log gave.
type AuditVerdict struct {
	OK      bool  `json:"ok"`
	Entries int64 `json:"entries"`
	// Head is one hash over the ends of all chains: keep it elsewhere, and
	// nobody can rewrite the log unnoticed.
	Head string `json:"head"`
	// Problem names the first entry that does not fit.
	Problem string `json:"problem,omitempty"`
}

func (a *API) auditVerify(ctx context.Context, _ *struct{}) (*answered[AuditVerdict], error) {
	n, head, problem, err := a.Audit.Verify(ctx)
	return &answered[AuditVerdict]{Body: AuditVerdict{OK: problem == "", Entries: n, Head: head, Problem: problem}}, err
}
