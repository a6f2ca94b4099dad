package winget

import (
	"cmp"
	"os"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/msifile"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// said is what a package of Windows Installer says of itself: the names under
// which Windows will know it. Manifests leave them out more often than not.
type said struct {
	ProductCode string `json:"product_code,omitempty"`
	UpgradeCode string `json:"upgrade_code,omitempty"`
	// Wrong says why it could not be read.
	Wrong string `json:"wrong,omitempty"`
}

// listen reads a fetched package, once.
func (f *fetching) listen(sum string) said {
	if s, known := f.st.Said[sum]; known {
		return s
	}
	file, err := os.Open(crawl.BlobPath(f.dir, sum))
	if err != nil {
		return said{Wrong: "the fetched package can't be read"}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return said{Wrong: "the fetched package can't be read"}
	}
	all, err := msifile.Properties(file, info.Size())
	if err != nil {
		return said{Wrong: fault.Public(err)}
	}
	s := said{ProductCode: strings.ToUpper(all["ProductCode"]), UpgradeCode: strings.ToUpper(all["UpgradeCode"])}
	if !inventory.IsGUID(s.ProductCode) {
		s.Wrong = "the package names no product code"
	}
	if !inventory.IsGUID(s.UpgradeCode) {
		s.UpgradeCode = ""
	}
	return s
}

// told adds to an installer what its package says.
func (in Installer) told(s said) Installer {
	if s.ProductCode == "" || s.against(in) != "" {
		return in
	}
	if in.ProductCode == "" {
		in.ProductCode = s.ProductCode
	}
	in.Entries = append(slices.Clip(in.Entries), AppsFeatures{ProductCode: s.ProductCode, UpgradeCode: s.UpgradeCode})
	return in
}

// against says what speaks against installing a package: that it is none, or
// another one than the manifest says.
func (s said) against(in Installer) string {
	switch {
	case s.Wrong != "":
		return s.Wrong
	case s.ProductCode != "" && inventory.IsGUID(in.ProductCode) && !strings.EqualFold(in.ProductCode, s.ProductCode):
		return "the manifest names product code " + in.ProductCode + ", the package itself " + s.ProductCode
	}
	for _, e := range in.Entries { // a manifest must not claim other makers' products
		switch {
		case s.ProductCode != "" && inventory.IsGUID(e.ProductCode) && !strings.EqualFold(e.ProductCode, s.ProductCode):
			return "the manifest names product code " + e.ProductCode + ", the package itself " + s.ProductCode
		case s.ProductCode != "" && inventory.IsGUID(e.UpgradeCode) && !strings.EqualFold(e.UpgradeCode, s.UpgradeCode):
			return "the manifest names upgrade code " + e.UpgradeCode + ", the package itself " + cmp.Or(s.UpgradeCode, "none")
		}
	}
	return ""
}
