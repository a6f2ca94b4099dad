//go:build !race

package microsoft

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/inventory/recorded"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// contentsOf is what a platform's shard holds, merged as the publisher does.
func contentsOf(t testing.TB, out crawl.Output, platform string) catalog.Contents {
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
	return c
}

// shardOf makes a platform's shard in memory.
func shardOf(t testing.TB, out crawl.Output, platform string) *catalog.Shard {
	t.Helper()
	c := contentsOf(t, out, platform)
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
// the servicing stack where one is missing. Those without any have the last
// service pack, and the documents have no cumulative update for their release.
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
	"vista_x64_sp2":                                   {},
	"xp_rtm_x86_professional_en-us":                   {"KB324722"},
	"xp_sp1_x86":                                      {"KB835935"},
	"xp_sp2_x86":                                      {"KB936929"},
	"xp_sp3_x86_professional_en-us":                   {},
	"xp_sp2_x64":                                      {},
	"srv_2003_rtm_x86_standard_en-us":                 {"SPSRV3X86SP1"},
	"srv_2003_sp1_x64_standard_en-us":                 {"SPSRV3X64SP2"},
	"srv_2003r2_sp2_rtm_x64_standard_en-us":           {},
	"srv_2003r2_sp2_x86_standard_en-us":               {},
}

// nothingMore sees to it that a machine lacks nothing because there is nothing:
// its release has no cumulative update or rollup, and all that can be judged
// there are service packs that it has.
func nothingMore(t *testing.T, out crawl.Output, s *inventory.Snapshot) {
	t.Helper()
	for _, p := range out.Patches {
		if p.Platform != s.OS.Platform() || p.Installed == nil {
			continue
		}
		a, i := p.Rules()
		if p.Classification != patch.ServicePack || detect.Eval(a, s.Facts()).Value == detect.True && detect.Eval(i, s.Facts()).Value != detect.True {
			t.Errorf("%s lacks nothing, but there is %s", s.OS.Platform(), p.ID)
		}
	}
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
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := recorded.Systeminfo(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, said := newest[name]
		if !said {
			t.Errorf("%s: nobody says what it lacks", name)
		}
		findings, err := catalog.Assess([]*catalog.Shard{shardOf(t, out, s.OS.Platform())}, &s, nil)
		if err != nil {
			t.Fatal(err)
		}
		var missing []string
		for _, f := range findings {
			missing = append(missing, f.Product)
			if f.State != catalog.Missing {
				t.Errorf("%s: %s is %s: %s", name, f.Patch, f.State, f.Reason)
			}
		}
		want = slices.Sorted(slices.Values(want))
		slices.Sort(missing)
		if !slices.Equal(missing, want) {
			t.Errorf("%s (%s %s): lacks %v, want %v", name, s.OS.Platform(), s.OS.Build, missing, want)
		}
		if len(want) == 0 {
			nothingMore(t, out, &s)
		}
	}
}
