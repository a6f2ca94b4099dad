//go:build !race

package microsoft

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
)

// TestDocs holds the counts in docs/microsoft.md against the real documents.
func TestDocs(t *testing.T) {
	docs, snaps := realMonths(t)
	out, tally := realBuild(t)
	list := realList(t)
	var sum msrc.Counts
	kbs, pairs := map[string]bool{}, map[msrc.Pair]bool{}
	for _, m := range append(slices.Clip(docs), snaps...) {
		sum.Add(m.Counts)
		for _, f := range m.Fixes {
			kbs[f.KB], pairs[msrc.Pair{KB: f.KB, Product: f.ProductID}] = true, true
		}
	}
	var main List
	if err := main.ParseList(feedtest.Open(t, feedtest.Path(t, "kb-supersedence/wesng-cve-kb-product-supersedes.to-2025-12.csv.zst"))); err != nil {
		t.Fatal(err)
	}
	ruled := 0
	for _, p := range out.Patches {
		if p.Installed != nil {
			ruled++
		}
	}
	text, err := os.ReadFile("../../../../docs/microsoft.md")
	if err != nil {
		t.Fatal(err)
	}
	for label, n := range map[string]int{
		"documents": len(docs), "snapshots of earlier days": len(snaps), "vulnerabilities in them": sum.Vulnerabilities,
		"of these, of Azure Linux and CBL-Mariner alone (left out)": sum.AzureLinux, "vendor fixes": sum.Remediations["Vendor Fix"],
		"of these, with a KB": sum.KBFixes, "of these, for Azure Linux (left out)": sum.LinuxFixes,
		"of these, without a KB (release notes, Click to Run, source code)": sum.OtherFixes, "known issues": sum.Remediations["Known Issue"],
		"copies of a fix that contradict each other": sum.Contradictions, "KBs": len(kbs), "KB and product": len(pairs),
		"lines of the supersedence list": main.Lines, "records in them": main.Records, "records without a KB": main.NoKB,
		"records with a text for a KB": main.TextKB, "records that supersede something": main.Superseding, "service packs and upgrades": len(list.Packs),
		"platforms (Windows release by architecture)": tally.Platforms, "patches": len(out.Patches), "patches with detection rules": ruled,
		"advisories": len(out.Advisories), "vulnerabilities published": len(out.Vulnerabilities), "supersedence edges": tally.Edges,
		"edges left out because they contradict better ones": tally.Circular, "builds that can't be of their release": tally.BadBuilds,
	} {
		if row := "| " + label + " | " + thousands(n) + " |"; !strings.Contains(string(text), row+"\n") {
			t.Errorf("docs/microsoft.md lacks %q", row)
		}
	}
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
