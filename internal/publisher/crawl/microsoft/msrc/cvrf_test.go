package msrc

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc/msrctest"
)

func TestParseCVRF(t *testing.T) {
	m, err := ParseCVRF(strings.NewReader(msrctest.February().XML()))
	if err != nil {
		t.Fatal(err)
	}
	m.Counts.Bytes = 0
	fix := func(id, name string) Fix {
		return Fix{
			KB: "9000002", ProductID: id, Product: name, Family: "Windows", SubType: "Security Update", Restart: "Yes", Build: "10.0.17763.200",
			URL: "https://catalog.example/q=KB9000002", Supersedes: []string{"9000001"}, CVEs: []int{0}, Severity: patch.Critical,
			KnownIssues: []string{"https://support.example/9000002"},
		}
	}
	word := fix("3", "Microsoft Word 2031")
	word.KB, word.Family, word.Restart, word.Build, word.Supersedes, word.CVEs = "8000001", "Microsoft Office", "Maybe", "", nil, []int{1}
	word.URL, word.KnownIssues = "https://catalog.example/q=KB8000001", []string{"https://support.example/8000001"}
	cve := CVE{
		ID: "CVE-2031-1", Title: "Kernel", Description: "It is bad.", Severity: patch.Critical, Impact: "Remote Code Execution", CVSS: 8.8,
		Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H", Exploited: true,
	}
	disclosed := cve
	disclosed.ID, disclosed.Title, disclosed.Exploited, disclosed.Disclosed = "CVE-2031-2", "Word", false, true
	want := Month{
		ID: "2031-Feb", Title: "2031-Feb updates", Version: "3",
		Initial: time.Date(2031, 2, 11, 8, 0, 0, 0, time.UTC), Current: time.Date(2031, 2, 20, 8, 0, 0, 0, time.UTC),
		CVEs:  []CVE{cve, disclosed},
		Fixes: []Fix{word, fix("1", "Windows Server 2019"), fix("2", "Windows Server 2019  (Server Core installation)")},
		Counts: Counts{
			Products: 4, Vulnerabilities: 3, AzureLinux: 1, Remediations: map[string]int{"Vendor Fix": 4, "Known Issue": 4},
			KBFixes: 2, LinuxFixes: 1, OtherFixes: 1,
		},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseCVRFRefuses(t *testing.T) {
	good := msrctest.February().XML()
	for name, doc := range map[string]string{
		"nothing":       "",
		"a web page":    "<!doctype html><html><body>Sign in</body></html>",
		"other XML":     "<feed/>",
		"cut off":       good[:len(good)-40],
		"no id":         strings.Replace(good, "<cvrf:ID>2031-Feb</cvrf:ID>", "", 1),
		"no date":       strings.Replace(good, "2031-02-20T08:00:00", "soon", 1),
		"broken markup": strings.Replace(good, "</vuln:CVE>", "</vuln:CVS>", 1),
		"deep branches": strings.Repeat("<prod:Branch>", 200),
	} {
		if _, err := ParseCVRF(strings.NewReader(doc)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKBsIn(t *testing.T) {
	for in, want := range map[string][]string{
		"5075904":                {"5075904"},
		"4012598; 4012606":       {"4012598", "4012606"},
		"4480977<br><br>4480968": {"4480977", "4480968"},
		"MS16-101, 3185330":      {"3185330"},
		"4103723, 4103725\n":     {"4103723", "4103725"},
		"None":                   nil,
		"":                       nil,
		"10.0.17763":             nil,
		"891716":                 {"891716"},
		"123456789012":           nil,
	} {
		if got := KBs(in); !cmp.Equal(got, want) {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func FuzzParseCVRF(f *testing.F) {
	f.Add([]byte(msrctest.February().XML()))
	f.Add([]byte(msrctest.March().XML()))
	f.Add([]byte("<cvrfdoc><DocumentTracking><Identification><ID>x</ID></Identification></DocumentTracking></cvrfdoc>"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := ParseCVRF(bytes.NewReader(doc))
		if err != nil {
			return
		}
		folded, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back Month
		if err := json.Unmarshal(folded, &back); err != nil {
			t.Fatal(err)
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
