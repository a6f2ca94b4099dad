package kev_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/enrich"
	"github.com/fettlehq/fettle/internal/publisher/enrich/kev"
)

const feed = `{"title":"CISA Catalog","catalogVersion":"2026.11.21","count":2,"vulnerabilities":[
 {"cveID":"CVE-2026-1111","dateAdded":"2026-11-20","dueDate":"2026-12-11","knownRansomwareCampaignUse":"Known"},
 {"cveID":"CVE-2026-2222","dateAdded":"2026-11-19","dueDate":"","knownRansomwareCampaignUse":"Unknown"}]}`

func TestApply(t *testing.T) {
	to := enrich.Vulnerabilities{"CVE-2026-1111": {ID: "CVE-2026-1111"}, "CVE-2026-2222": {ID: "CVE-2026-2222"}, "CVE-2026-3333": {ID: "CVE-2026-3333"}}
	n, err := kev.Apply(strings.NewReader(feed), to)
	if err != nil || n != 2 {
		t.Fatalf("%d entries, %v", n, err)
	}
	want := enrich.Vulnerabilities{
		"CVE-2026-1111": {ID: "CVE-2026-1111", KEV: &patch.KEV{Added: "2026-11-20", Due: "2026-12-11", Ransomware: true}},
		"CVE-2026-2222": {ID: "CVE-2026-2222", KEV: &patch.KEV{Added: "2026-11-19"}},
		"CVE-2026-3333": {ID: "CVE-2026-3333"},
	}
	if diff := cmp.Diff(want, to); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	for _, bad := range []string{
		"", "<html>", "[]", `{"count":0,"vulnerabilities":[]}`, feed[:200],
		strings.Replace(feed, `"count":2`, `"count":3`, 1), strings.Replace(feed, "CVE-2026-2222", "2222", 1), strings.Replace(feed, "2026-11-19", "19.11.", 1),
	} {
		if _, err := kev.Apply(strings.NewReader(bad), nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
}

func TestRealCatalog(t *testing.T) {
	for file, want := range map[string]int{
		"known_exploited_vulnerabilities.2026-08-22.json": 1674,
		"known_exploited_vulnerabilities.2025-08-25.json": 1404,
	} {
		f, err := os.Open(filepath.Join("../../../../../shared/feeds/cisa/kev", file))
		if err != nil {
			t.Skipf("the real feeds are not beside this repository: %v", err)
		}
		to := enrich.Vulnerabilities{"CVE-2021-44228": {ID: "CVE-2021-44228"}}
		n, err := kev.Apply(f, to)
		_ = f.Close()
		if err != nil || n != want {
			t.Errorf("%s: %d entries, %v", file, n, err)
		}
		if k := to["CVE-2021-44228"].KEV; k == nil || k.Added != "2021-12-10" || !k.Ransomware {
			t.Errorf("%s: Log4Shell is %+v", file, k)
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte(feed))
	f.Fuzz(func(t *testing.T, data []byte) {
		to := enrich.Vulnerabilities{"CVE-2026-1111": {ID: "CVE-2026-1111"}}
		if n, err := kev.Apply(bytes.NewReader(data), to); err == nil && n == 0 {
			t.Error("a catalog without entries was taken")
		}
	})
}
