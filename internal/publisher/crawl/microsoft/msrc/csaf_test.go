package msrc

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc/msrctest"
)

// csafText says of February's first vulnerability what its CVRF document says.
const csafText = `{"document":{"category":"csaf_security_advisory","csaf_version":"2.0","title":"Kernel","aggregate_severity":{"text":"Critical"},
"tracking":{"id":"msrc_CVE-2031-1","version":"3","initial_release_date":"2031-02-11T08:00:00.000Z","current_release_date":"2031-02-20T08:00:00.000Z"}},
"product_tree":{"branches":[
{"category":"product_name","name":"Windows Server 2019","branches":[
{"category":"product_version_range","name":"<10.0.17763.200","product":{"name":"Windows Server 2019 <10.0.17763.200","product_id":"7"}},
{"category":"product_version","name":"10.0.17763.200","product":{"name":"Windows Server 2019 10.0.17763.200","product_id":"1"}}]},
{"category":"product_name","name":"Windows Server 2019  (Server Core installation)","branches":[
{"category":"product_version_range","name":"<10.0.17763.200","product":{"name":"x <10.0.17763.200","product_id":"8"}}]}]},
"vulnerabilities":[{"cve":"CVE-2031-1","title":"Kernel","product_status":{"fixed":["1"],"known_affected":["7","8"]},
"notes":[{"category":"description","text":"<p>It  is bad.</p>"}],
"remediations":[{"category":"vendor_fix","details":"10.0.17763.200:Security Update:https://support.microsoft.com/help/9000002","url":"https://catalog.example/q=KB9000002","product_ids":["7","8"],"restart_required":{"category":"system"}},
{"category":"mitigation","details":"turn it off","product_ids":["7"]}],
"scores":[{"cvss_v3":{"baseScore":8.8,"vectorString":"CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H"},"products":["7"]}],
"threats":[{"category":"impact","details":"Remote Code Execution"},{"category":"exploit_status","details":"Publicly Disclosed:No;Exploited:Yes;Latest Software Release:Exploitation Detected"}]}]}`

// TestCSAFAgrees: an advisory says of a KB what the month's CVRF document says.
func TestCSAFAgrees(t *testing.T) {
	month, err := ParseCVRF(strings.NewReader(msrctest.February().XML()))
	if err != nil {
		t.Fatal(err)
	}
	one, err := ParseCSAF(strings.NewReader(csafText))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(month.CVEs[:1], one.CVEs); diff != "" {
		t.Errorf("the vulnerability (-CVRF +CSAF):\n%s", diff)
	}
	var fixes []Fix
	for _, f := range month.Fixes {
		if f.KB == "9000002" {
			fixes = append(fixes, f)
		}
	}
	// Ids of products, families, what is replaced and known issues are CVRF's alone.
	alone := cmpopts.IgnoreFields(Fix{}, "ProductID", "Family", "Supersedes", "KnownIssues")
	if diff := cmp.Diff(fixes, one.Fixes, alone); diff != "" {
		t.Errorf("the fixes (-CVRF +CSAF):\n%s", diff)
	}
	if !one.Initial.Equal(month.Initial) || !one.Current.Equal(month.Current) || one.ID != "CSAF msrc_CVE-2031-1" || one.Version != "3" {
		t.Errorf("%+v", one)
	}
}

func TestRealCSAF(t *testing.T) {
	for pattern, want := range map[string]Counts{
		"msrc-csaf/*.json": {Vulnerabilities: 1, OtherFixes: 1, Products: 2, Remediations: map[string]int{"Vendor Fix": 1}},
		"msrc-vex/*.json":  {Vulnerabilities: 1, AzureLinux: 1, LinuxFixes: 2, Remediations: map[string]int{"Vendor Fix": 2}},
	} {
		paths, err := filepath.Glob(feedtest.Path(t, filepath.Dir(pattern)) + "/" + filepath.Base(pattern))
		if err != nil || len(paths) != 1 {
			t.Fatal(paths, err)
		}
		m, err := ParseCSAF(feedtest.Open(t, paths[0]))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, m.Counts, cmpopts.IgnoreFields(Counts{}, "Bytes", "Products")); diff != "" {
			t.Errorf("%s: %s", pattern, diff)
		}
		if m.Initial.IsZero() || !strings.HasPrefix(m.ID, "CSAF msrc_CVE-") {
			t.Errorf("%+v", m)
		}
	}
}

func FuzzParseCSAF(f *testing.F) {
	f.Add([]byte(csafText))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseCSAF(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, x := range m.Fixes {
			for _, c := range x.CVEs {
				if c >= len(m.CVEs) {
					t.Fatalf("fix of %s names CVE %d of %d", x.KB, c, len(m.CVEs))
				}
			}
		}
	})
}

func TestCSAFRefuses(t *testing.T) {
	for _, text := range []string{"", "<html>", "{}", `{"document":{"csaf_version":"2.0","tracking":{"id":"x"}}}`, strings.Replace(csafText, "2031-02-11T", "soon", 1)} {
		if _, err := ParseCSAF(strings.NewReader(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}
