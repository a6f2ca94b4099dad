package api

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/estate"
)

// TestAuditIsNarrowed reads a log of more than one page of the store with each
// filter, page after page.
func TestAuditIsNarrowed(t *testing.T) {
	w := newWorld(t)
	ada := estate.Actor{Kind: "user", ID: "u1", Name: "ada"}
	bob := estate.Actor{Kind: "key", ID: "k1", Name: "bob"}
	var all Page[AuditEntry]
	w.call("GET", mainT+"/audit?limit=1", nil, 200, &all)
	begin := int64(0)
	if len(all.Items) > 0 {
		begin = all.Items[0].Seq
	}
	must(t, w.audit.Append(t.Context(), "main", ada, "approvals.create", "approve", "2 patches (Tested) a b"))
	must(t, w.audit.Append(t.Context(), "main", bob, "deployments.create", "d-1", "2 patches"))
	for i := range 1200 { // the store gives 1,000 at most
		must(t, w.audit.Append(t.Context(), "main", bob, "hosts.scan", fmt.Sprintf("m%d", i), ""))
	}
	must(t, w.audit.Append(t.Context(), "main", ada, "approvals.create.failed", "approve", "denied: no; asked for: d-1"))
	w.call("GET", mainT+"/audit?limit=1", nil, 200, &all)
	last := all.Items[0]
	var first Page[AuditEntry]
	w.call("GET", mainT+"/audit?actor=bob&action=deployments", nil, 200, &first)
	deployed := first.Items[0].At
	later := func(d time.Duration) string { return url.QueryEscape(last.At.Add(d).Format(time.RFC3339Nano)) }
	at := url.QueryEscape(deployed.Format(time.RFC3339Nano))

	for _, tc := range []struct {
		query string
		want  []int64 // numbers after those that the world itself has made
	}{
		{"actor=ada", []int64{1203, 1}},
		{"actor=ADA", nil},
		{"action=approvals", []int64{1203, 1}},
		{"action=approvals.create.", []int64{1203}},
		{"q=d-1", []int64{1203, 2}},
		{"q=TESTED", []int64{1}},
		{"q=m1199", []int64{1202}},
		{"q=d-1&actor=bob", []int64{2}},
		{"action=deployments&from=" + at, []int64{2}},
		{"action=deployments&to=" + at, nil},
		{"from=" + later(time.Millisecond), nil},
		{"from=" + later(48*time.Hour), nil},
		{"actor=ada&to=" + later(time.Millisecond), []int64{1203, 1}},
		{"q=nothing-has-this", nil},
	} {
		var got []int64
		for after := ""; ; {
			var p Page[AuditEntry]
			w.call("GET", mainT+"/audit?limit=1&"+tc.query+"&after="+after, nil, 200, &p)
			for _, e := range p.Items {
				got = append(got, e.Seq-begin)
			}
			if after = p.Next; after == "" {
				break
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.query, diff)
		}
	}
	var own Page[AuditEntry]
	w.call("GET", base+"/audit?q=m1", nil, 200, &own)
	if len(own.Items) > 0 {
		t.Errorf("the server's log has %+v", own.Items)
	}
}
