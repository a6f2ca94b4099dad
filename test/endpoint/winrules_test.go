package endpoint

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus/sdp"
)

// realRules are all rules of a maker's real catalog, by package and part.
func realRules(t *testing.T) (names []string, rules []detect.Rule) {
	t.Helper()
	in := tar.NewReader(feedtest.Open(t, feedtest.Path(t, "wsus-sdp/hp/HpCatalogForSms.V2.sdp.tar.zst")))
	packages := 0
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".sdp") {
			continue
		}
		p, err := sdp.ParsePackage(in)
		if err != nil {
			t.Fatal(h.Name, err)
		}
		packages++
		names, rules = append(names, p.Title+" applicable"), append(rules, p.Applicable)
		for _, i := range p.Items {
			names, rules = append(names, p.Title+" item applicable", p.Title+" installed"), append(rules, i.Applicable, i.Installed)
		}
	}
	t.Logf("%d packages, %d rules", packages, len(rules))
	return names, rules
}

func TestDump(t *testing.T) {
	_, rules := realRules(t)
	data, _ := json.Marshal(rules)
	_ = data
	os.WriteFile("/tmp/wincollect/rules.json", data, 0o644)
}
