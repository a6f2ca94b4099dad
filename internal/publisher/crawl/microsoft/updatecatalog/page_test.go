package updatecatalog

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

func TestRealSearch(t *testing.T) {
	got, err := ParseSearch(feedtest.Open(t, feedtest.Path(t, "update-catalog/Search.aspx/KB5025239")))
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	want := Found{
		UpdateID: "f39d68ab-1519-4df8-85c1-d985be7f49c3", Title: "2023-04 Cumulative Update for Windows 11 Version 22H2 for arm64-based Systems (KB5025239)",
		Products: "Windows 11", Classification: "Security Updates", Updated: time.Date(2023, 4, 11, 0, 0, 0, 0, time.UTC), Size: 420959465,
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRealDetails(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(feedtest.Path(t, "update-catalog/ScopedViewInline.aspx"), "*"))
	if err != nil || len(paths) != 3 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, p := range paths {
		d, err := ParseDetails(feedtest.Open(t, p))
		if err != nil || d.Title == "" || len(d.KBs) != 1 || d.Classification == "" || d.Products == "" || d.Restart == "" || d.Updated.IsZero() {
			t.Errorf("%s: %+v, %v", filepath.Base(p), d, err)
		}
	}
	d, err := ParseDetails(feedtest.Open(t, filepath.Join(feedtest.Path(t, "update-catalog/ScopedViewInline.aspx"), "0b97c243-5833-4bf3-bcf8-77063e53c42a")))
	if err != nil {
		t.Fatal(err)
	}
	by := []Named{{UpdateID: "acbe4fd0-394e-40e8-a96b-c4facae62c8b", Title: "2023-05 Cumulative Update Preview for Windows 11 Version 22H2 for arm64-based Systems (KB5026446)", KB: "5026446"}}
	if diff := cmp.Diff(by, d.ReplacedBy); diff != "" || len(d.Replaces) != 18 || d.Replaces[2].KB != "5025239" || d.Severity != "Critical" || d.KBs[0] != "5026372" {
		t.Errorf("%s\n%+v", diff, d)
	}
	thanks := feedtest.Open(t, feedtest.Path(t, "update-catalog/Thanks.aspx/190"))
	if _, err := ParseDetails(thanks); !fault.Is(err, fault.Invalid) {
		t.Errorf("the thanks page has details: %v", err)
	}
}

const dialog = `<script>
downloadInformation[0] = new Object();
downloadInformation[0].files = new Array();
downloadInformation[0].files[0] = new Object();
downloadInformation[0].files[0].url = 'https://catalog.example/d/msdownload/update/windows11-kb9000001-x64_0a.msu';
downloadInformation[0].files[0].digest = 'sJRqIvCrdbpZvP18wDS2HbwhFUE=';
downloadInformation[0].files[0].sha256 = '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=';
downloadInformation[0].files[0].architectures = 'AMD64';
downloadInformation[0].files[0].fileName = 'windows11-kb9000001-x64_0a.msu';
downloadInformation[0].files[1].url = 'javascript:no';
</script>`

func TestParseDownload(t *testing.T) {
	got, err := ParseDownload(strings.NewReader(dialog))
	want := []Download{{
		URL: "https://catalog.example/d/msdownload/update/windows11-kb9000001-x64_0a.msu", FileName: "windows11-kb9000001-x64_0a.msu",
		SHA1: "sJRqIvCrdbpZvP18wDS2HbwhFUE=", SHA256: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", Arch: "AMD64",
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, page := range []string{"", "<html></html>"} {
		if _, err := ParseDownload(strings.NewReader(page)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", page, err)
		}
		if _, err := ParseSearch(strings.NewReader(page)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", page, err)
		}
	}
}

func FuzzPages(f *testing.F) {
	f.Add([]byte(dialog))
	f.Add([]byte(`<tr id="f39d68ab-1519-4df8-85c1-d985be7f49c3_R3"><td id="f39d68ab-1519-4df8-85c1-d985be7f49c3_C1_R3">KB</td></tr>`))
	f.Add([]byte(`<span id="ScopedViewHandler_titleText">x (KB5026372)</span><div id="supersedesInfo"><div><a href="?updateid=acbe4fd0-394e-40e8-a96b-c4facae62c8b">y</a></div></div>`))
	f.Fuzz(func(t *testing.T, page []byte) {
		found, err := ParseSearch(bytes.NewReader(page))
		for _, x := range found {
			if err != nil || !guid.MatchString(x.UpdateID) || x.Size < 0 {
				t.Fatalf("%+v, %v", x, err)
			}
		}
		d, err := ParseDetails(bytes.NewReader(page))
		for _, n := range d.KBs {
			if err != nil || kb(n) != n {
				t.Fatalf("%q, %v", n, err)
			}
		}
		if files, err := ParseDownload(bytes.NewReader(page)); err == nil && len(files) == 0 {
			t.Fatal("no file and no error")
		}
	})
}
