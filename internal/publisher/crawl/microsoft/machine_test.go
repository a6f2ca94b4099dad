package microsoft

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

var (
	osVersion = regexp.MustCompile(`(?m)^[^:\n]*:[ \t]+((?:10\.0|6\.[0-3]|5\.[12])\.\d{4,5})\b`)
	osName    = regexp.MustCompile(`(?m)^[^:\n]*:[ \t]+(Microsoft.*Windows.*)$`)
	kbText    = regexp.MustCompile(`\bKB(\d{6,8})\b`)
)

// editions are words of OS names, in the languages of the samples, and the
// EditionID that such a machine has.
var editions = []struct{ word, id string }{
	{"LTSC", "EnterpriseS"},
	{"Education", "Education"},
	{"Enterprise", "Enterprise"},
	{"Entreprise", "Enterprise"},
	{"Home", "Core"},
	{"Pro for Workstations", "ProfessionalWorkstation"},
	{"Pro", "Professional"},
	{"Standard", "ServerStandard"},
	{"Datacenter", "ServerDatacenter"},
	{"Ultimate", "Ultimate"},
}

// sample makes a snapshot of what systeminfo says. It knows no revision of the
// build, and KBs only as far as they are listed.
func sample(t *testing.T, path string) (inventory.Snapshot, bool) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(decodeText(raw), "\r", "")
	s := inventory.Snapshot{OS: inventory.OS{Family: "windows", Arch: "386"}}
	if m := osVersion.FindStringSubmatch(text); m != nil {
		s.OS.Build = m[1]
	}
	if m := osName.FindStringSubmatch(text); m != nil {
		s.OS.Name = strings.TrimSpace(m[1])
	}
	if strings.Contains(text, "x64-based PC") || strings.Contains(s.OS.Name, "x64") {
		s.OS.Arch = "amd64"
	}
	for _, e := range editions {
		if strings.Contains(s.OS.Name, e.word) {
			s.OS.Edition = e.id
			break
		}
	}
	server := strings.Contains(strings.ReplaceAll(s.OS.Name, "\ufffd", ""), "Server") || strings.HasPrefix(filepath.Base(path), "srv_")
	r, known := inventory.WindowsOf(s.OS.Build, server)
	s.OS.ID, s.OS.Version = r.ID, r.Version
	seen := map[string]bool{}
	for _, m := range kbText.FindAllStringSubmatch(text, -1) {
		if !seen[m[1]] {
			seen[m[1]] = true
			s.Packages = append(s.Packages, inventory.Package{Kind: HotfixKind, Name: "KB" + m[1]})
		}
	}
	slices.SortFunc(s.Packages, inventory.ComparePackages)
	return s, known
}

func decodeText(raw []byte) string {
	if !bytes.HasPrefix(raw, []byte{0xff, 0xfe}) {
		return string(raw)
	}
	var units []uint16
	for i := 2; i+1 < len(raw); i += 2 {
		units = append(units, uint16(raw[i])|uint16(raw[i+1])<<8)
	}
	return string(utf16.Decode(units))
}

// shardOf makes a platform's shard in memory, as the publisher does.
func shardOf(t testing.TB, out crawl.Output, platform string) *catalog.Shard {
	t.Helper()
	c := catalog.Contents{Header: catalog.Header{Platform: platform}}
	named := map[string]bool{}
	for _, p := range out.Patches {
		if p.Platform != platform {
			continue
		}
		c.Patches = append(c.Patches, p)
		for _, a := range p.Advisories {
			named[a] = true
		}
		for _, v := range p.CVEs {
			named[v.ID] = true
		}
	}
	for _, a := range out.Advisories {
		if named[a.ID] {
			c.Advisories = append(c.Advisories, a)
		}
	}
	for _, v := range out.Vulnerabilities {
		if named[v.ID] {
			c.Vulnerabilities = append(c.Vulnerabilities, v)
		}
	}
	c, err := catalog.Merge(c)
	if err != nil {
		t.Fatalf("%s: %v", platform, err)
	}
	if len(c.Header.Notes) > 0 {
		t.Errorf("%s: %v", platform, c.Header.Notes)
	}
	var b bytes.Buffer
	if err := catalog.Encode(&b, c); err != nil {
		t.Fatal(err)
	}
	s, err := catalog.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newest is what each recorded machine lacks as far as the documents reach:
// the newest cumulative update (or rollup, or service pack) that applies, and
// the servicing stack where one is missing. Without a line: nothing.
var newest = map[string][]string{
	"10_1803_x64_education_en-us":                     {"KB5003174", "KB4565552"},
	"10_1803_x64_enterprise_es-ar_20190307":           {"KB5003174", "KB4565552"},
	"10_1803_x64_pro_it":                              {"KB5003174", "KB4565552"},
	"10_1803_x64_proforworkstations_en-us_A_20190305": {"KB5003174", "KB4565552"},
	"10_1803_x64_proforworkstations_en-us_B_20190306": {"KB5003174", "KB4565552"},
	"10_1803_x64_proforworkstations_en-us":            {"KB5003174", "KB4565552"},
	"10_1803_x86_enterprise_nl":                       {"KB5003174", "KB4565552"},
	"10_1809_x64_education_en-us_20190306":            {"KB5003171", "KB4558997"},
	"10_1809_x64_education_en-us":                     {"KB5003171", "KB4558997"},
	"10_1809_x64_education_es":                        {"KB5003171", "KB4558997"},
	"10_1809_x64_enterprise_zh-cn":                    {"KB5087538", "KB4558997"}, // LTSC
	"10_1809_x64_pro_en-us_20190307":                  {"KB5003171", "KB4558997"},
	"10_21H1_x64_enterprise":                          {"KB5019959"},
	"10_21H2_x64_pro":                                 {"KB5039211"},
	"10_rtm_x64_pro_en-us":                            {"KB4019474"},
	"11_21H2_x64_enterprise":                          {"KB5044280"},
	"11_22H2_x64_home-single-language":                {"KB5066793"},
	"11_23H2_x64_enterprise":                          {"KB5087420"},
	"7_sp1_x64_enterprise_en-us_20190305":             {"KB5022338", "KB4565354"},
	"7_sp1_x64_enterprise_en-us_A":                    {"KB5022338", "KB4565354"},
	"7_sp1_x64_enterprise_en-us_B":                    {"KB5022338", "KB4565354"},
	"7_sp1_x64_enterprise_fr_cmd":                     {"KB5022338", "KB4565354"},
	"7_sp1_x64_enterprise_fr_powershell":              {"KB5022338", "KB4565354"},
	"7_sp1_x64_ultimaten_de":                          {"KB5022338", "KB4565354"},
	"7_sp1_x86_enterprise_en-us":                      {"KB5022338", "KB4565354"},
	"8.1_u1_x64_enterprise_en-us":                     {"KB5022352", "KB4566425"},
	"srv_2008_rtm_x64_standard_en-us":                 {"SPSRV8X64SP2"},
	"srv_2008_rtm_x86_standard_en-us":                 {"SPSRV8X86SP2"},
	"srv_2008r2_sp1_x64_standard_en-us":               {"KB5073695", "KB4565354"},
	"srv_2012r2_u1":                                   {"KB5087471", "KB4566425"},
	"srv_2012r2_u12":                                  {"KB5087471", "KB4566425"},
	"srv_2012r2_x64_standard_ru":                      {"KB5087471", "KB4566425"},
	"srv_2016_1607_datacenter_en-us":                  {"KB5087537", "KB4565912"},
	"vista_x64_sp0":                                   {"KB936330"},
	"vista_x64_sp1":                                   {"KB948465"},
}

// TestRealMachines assesses every recorded machine with its platform's shard.
func TestRealMachines(t *testing.T) {
	out, _ := realBuild(t)
	paths, err := filepath.Glob(filepath.Join(feedtest.Path(t, "inventory-samples"), "*systeminfo*.txt"))
	if err != nil || len(paths) != 45 {
		t.Fatalf("%d recorded machines, %v", len(paths), err)
	}
	for _, path := range paths {
		name := strings.Replace(strings.TrimSuffix(filepath.Base(path), ".txt"), "_systeminfo", "", 1)
		s, known := sample(t, path)
		if !known {
			t.Errorf("%s: no release: %+v", name, s.OS)
			continue
		}
		findings, err := catalog.Assess([]*catalog.Shard{shardOf(t, out, s.OS.Platform())}, &s, nil)
		if err != nil {
			t.Fatal(err)
		}
		var missing []string
		for _, f := range findings {
			switch f.State {
			case catalog.Missing:
				missing = append(missing, f.Product)
			case catalog.Unsure: // only the registry knows XP's service pack, and that is not recorded
				if !strings.HasPrefix(s.OS.Build, "5.") {
					t.Errorf("%s: %s is not certain: %s", name, f.Patch, f.Reason)
				}
			}
		}
		want := slices.Clone(newest[name])
		slices.Sort(want)
		slices.Sort(missing)
		if !slices.Equal(missing, want) {
			t.Errorf("%s (%s %s): lacks %v, want %v", name, s.OS.Platform(), s.OS.Build, missing, want)
		}
	}
}
