package api

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fettlehq/fettle/internal/fault"
)

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

// AuditFilter narrows a list of entries; what is empty does not. It is
// exported for huma, which sees no other embedded types.
type AuditFilter struct {
	Actor  string    `query:"actor" maxLength:"1000" doc:"Done by this one: the whole name"`
	Action string    `query:"action" maxLength:"200" doc:"The action, or how it begins: 'approvals'"`
	Q      string    `query:"q" maxLength:"1000" doc:"A part of the object or the detail"`
	From   time.Time `query:"from" doc:"At or after it"`
	To     time.Time `query:"to" doc:"Before it"`
}

// alone reports whether the store narrows by itself all that the filter says.
func (f AuditFilter) alone() bool { return f.Q == "" && f.From.IsZero() && f.To.IsZero() }

func (f AuditFilter) fits(e AuditEntry) bool {
	q := strings.ToLower(f.Q)
	return !e.At.Before(f.From) && (f.To.IsZero() || e.At.Before(f.To)) &&
		(strings.Contains(strings.ToLower(e.Object), q) || strings.Contains(strings.ToLower(e.Detail), q))
}

// setBack is how far a server's clock may have been set back between two
// entries: a list from some time on ends that much before it.
const setBack = 24 * time.Hour

func (a *API) auditLog(ctx context.Context, in *struct {
	TenantPath
	Paging
	AuditFilter
},
) (*listed[AuditEntry], error) {
	return a.entries(ctx, in.AuditFilter, in.Paging)
}

func (a *API) serverAuditLog(ctx context.Context, in *struct {
	Paging
	AuditFilter
},
) (*listed[AuditEntry], error) {
	return a.entries(ctx, in.AuditFilter, in.Paging)
}

// entries reads the chain of the request's tenant, or the server's own, until
// a page is full.
func (a *API) entries(ctx context.Context, f AuditFilter, p Paging) (*listed[AuditEntry], error) {
	before := int64(0)
	if p.After != "" {
		n, err := strconv.ParseInt(p.After, 10, 64)
		if err != nil || n < 1 {
			return nil, fault.New(fault.Invalid, "the cursor of the list is not one that this server gave").WithHint("begin the list again without a cursor")
		}
		before = n
	}
	limit := max(p.Limit, 1)
	step := limit
	if !f.alone() {
		step = 1000
	}
	var out []AuditEntry
	for ended := false; !ended; {
		read := 0
		err := a.Audit.Recent(ctx, of(ctx).scope.Tenant, before, f.Actor, f.Action, step, func(doc []byte) error {
			var e AuditEntry
			if err := json.Unmarshal(doc, &e); err != nil {
				return fault.Wrap(err, fault.Internal, "an entry of the audit log can't be read").WithHint("'fettle audit verify' names the first that was changed")
			}
			read, before = read+1, e.Seq
			ended = ended || e.At.Add(setBack).Before(f.From)
			if len(out) < limit && f.fits(e) {
				out = append(out, e)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(out) == limit && out[limit-1].Seq > 1 {
			return pageOf(out, strconv.FormatInt(out[limit-1].Seq, 10)), nil
		}
		ended = ended || read < step || before <= 1
	}
	return pageOf(out, ""), nil
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
