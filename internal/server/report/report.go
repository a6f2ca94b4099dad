// Package report writes tables about a tenant as JSON, CSV or HTML: patch task
// status, missing patches, machines, decisions. Rows are written as they are
// read; no report is held in memory.
package report

import (
	"bufio"
	"context"
	"io"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Hosts reads machines of one scope.
type Hosts interface {
	Endpoint(ctx context.Context, id estate.EndpointID) (estate.Endpoint, error)
	Endpoints(ctx context.Context, f estate.EndpointFilter) ([]estate.Endpoint, string, error)
}

// Work reads deployments and decisions of one scope.
type Work interface {
	Deployment(ctx context.Context, id deploy.ID) (deploy.Deployment, error)
	Tasks(ctx context.Context, f deploy.TaskFilter) ([]deploy.Task, string, error)
	ActiveApprovals(ctx context.Context, now time.Time) ([]approval.Approval, error)
	Approvals(ctx context.Context, of patch.ID, after string, limit int) ([]approval.Approval, string, error)
}

// Data is what reports read; store.Scoped is one.
type Data interface {
	Hosts
	Work
}

// Index answers what machines lack; assess.Index is one.
type Index interface {
	Findings(t estate.TenantID, e estate.EndpointID) ([]catalog.Finding, error)
	Covered(t estate.TenantID, e estate.EndpointID) bool
}

// Writer writes reports. It is safe for concurrent use.
type Writer struct {
	data  func(estate.Scope) Data
	index Index
	patch func(patch.ID) (patch.Patch, error)
	now   func() time.Time
}

// New returns a writer. find looks a patch up in the catalog, NotFound when it
// has gone from there.
func New(data func(estate.Scope) Data, index Index, find func(patch.ID) (patch.Patch, error), now func() time.Time) *Writer {
	return &Writer{data: data, index: index, patch: find, now: now}
}

// request is one report that is being written.
type request struct {
	*Writer
	Data
	ctx      context.Context
	tenant   estate.TenantID
	of       deploy.ID
	from, to time.Time
	at       time.Time // now
}

// covers reports whether a moment lies within the report's time.
func (r *request) covers(t time.Time) bool {
	return (r.from.IsZero() || !t.Before(r.from)) && (r.to.IsZero() || t.Before(r.to))
}

// table is a report's shape.
type table struct {
	kind, title string
	columns     []column
	// tally is the column whose values are counted for the totals.
	tally int
	rows  func(*request, func([]any) error) error
}

// column is one column and how the page shows it.
type column struct {
	key, title string
	look       look
}

// look is how the page shows a column; JSON and CSV have all of them.
type look int

const (
	normal look = iota
	badge       // coloured by its value
	wide        // texts that take some room
	long        // whole sentences
	hidden      // not on the page: ids for programs
)

// tables lists every kind of report.
func tables() []table {
	return []table{taskTable(), missingTable(), hostTable(), approvalTable()}
}

// sink takes a report's parts in order.
type sink interface {
	begin(t table, h head) error
	row(cells []any) error
	end(total int, counts []count) error
}

// head is what stands above a report.
type head struct {
	Tenant    estate.TenantID `json:"tenant"`
	Kind      string          `json:"report"`
	Generated time.Time       `json:"generated"`
	Scope     string          `json:"scope"`
}

// count is one line of the totals.
type count struct {
	Value string
	N     int
}

// Write writes a report. kind is tasks, missing, hosts or approvals; format is
// json, csv or html. of limits tasks to one deployment; from and to limit
// tasks and decisions by when they were made. Times of zero do not.
func (wr *Writer) Write(ctx context.Context, w io.Writer, tenant estate.TenantID, kind, format string, of deploy.ID, from, to time.Time) error {
	var t *table
	for _, one := range tables() {
		if one.kind == kind {
			t = &one
			break
		}
	}
	if t == nil {
		return fault.New(fault.Invalid, "report: there is no report %q", kind).WithHint("use tasks, missing, hosts or approvals")
	}
	out := bufio.NewWriterSize(w, 32<<10)
	s, err := sinkOf(format, out)
	if err != nil {
		return err
	}
	r := &request{
		Writer: wr, Data: wr.data(estate.InTenant(tenant)), ctx: ctx, tenant: tenant,
		of: of, from: from, to: to, at: wr.now().UTC(),
	}
	if err := r.write(*t, s); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fault.Wrap(err, fault.Unavailable, "report: it can't be written")
	}
	return nil
}

func sinkOf(format string, out *bufio.Writer) (sink, error) {
	switch format {
	case "json":
		return &jsonSink{w: out}, nil
	case "csv":
		return newCSV(out), nil
	case "html":
		return newHTML(out)
	}
	return nil, fault.New(fault.Invalid, "report: there is no format %q", format).WithHint("use json, csv or html")
}

func (r *request) write(t table, s sink) error {
	if err := s.begin(t, head{Tenant: r.tenant, Kind: t.kind, Generated: r.at.Truncate(time.Second), Scope: r.scope()}); err != nil {
		return err
	}
	n := 0
	var order []string
	seen := map[string]int{}
	err := t.rows(r, func(cells []any) error {
		if err := r.ctx.Err(); err != nil {
			return fault.Wrap(err, fault.Cancelled, "report: it was not wanted any more")
		}
		n++
		value := text(cells[t.tally])
		if _, known := seen[value]; !known {
			order = append(order, value)
		}
		seen[value]++
		return s.row(cells)
	})
	if err != nil {
		return err
	}
	counts := make([]count, 0, len(order))
	for _, v := range order {
		counts = append(counts, count{v, seen[v]})
	}
	return s.end(n, counts)
}

// scope says in words what the report covers.
func (r *request) scope() string {
	words := "tenant " + string(r.tenant)
	if r.of != "" {
		words += ", deployment " + string(r.of)
	}
	if !r.from.IsZero() {
		words += ", from " + r.from.UTC().Format(time.RFC3339)
	}
	if !r.to.IsZero() {
		words += ", until " + r.to.UTC().Format(time.RFC3339)
	}
	return words
}
