package cvss_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/enrich"
	"github.com/fettlehq/fettle/internal/publisher/enrich/cvss"
)

const (
	v2  = "AV:N/AC:L/Au:N/C:C/I:C/A:C"
	v31 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
	v40 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"

	cve5 = `{"dataType":"CVE_RECORD","cveMetadata":{"cveId":"CVE-2026-1111"},"containers":{"cna":{"descriptions":[{"lang":"de","value":"x"},{"lang":"en","value":"A flaw."}],
	 "metrics":[{"format":"CVSS","cvssV3_1":{"baseScore":1.0,"vectorString":"` + v31 + `"}}]},"adp":[{"metrics":[{"other":{"type":"ssvc"}},{"cvssV4_0":{"vectorString":"` + v40 + `"}}]}]}}`
	nvd = `{"resultsPerPage":1,"vulnerabilities":[{"cve":{"id":"CVE-2026-2222","descriptions":[{"lang":"en","value":"Other."}],"metrics":{
	 "cvssMetricV31":[{"type":"Secondary","cvssData":{"vectorString":"CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}},{"type":"Primary","cvssData":{"vectorString":"` + v31 + `"}}],
	 "cvssMetricV2":[{"type":"Primary","cvssData":{"vectorString":"` + v2 + `"}}]}}}]}`
)

func two() enrich.Vulnerabilities {
	return enrich.Vulnerabilities{"CVE-2026-1111": {ID: "CVE-2026-1111"}, "CVE-2026-2222": {ID: "CVE-2026-2222"}}
}

func TestScore(t *testing.T) {
	for vector, want := range map[string]float64{v2: 10, v31: 9.8, v40: 9.3, "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H": 9.8} {
		if got, ok := cvss.Score(vector); !ok || got != want {
			t.Errorf("%s: %v, %v, want %v", vector, got, ok, want)
		}
	}
	for _, bad := range []string{"", "9.8", "CVSS:3.1/AV:N", "CVSS:9.0/AV:N", v31 + "/XX:Y"} {
		if got, ok := cvss.Score(bad); ok {
			t.Errorf("%q scores %v", bad, got)
		}
	}
}

func TestApply(t *testing.T) {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for name, text := range map[string]string{"a/CVE-2026-1111.json": cve5, "a/page.json": nvd, "a/README.md": "# x"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"one after the other": []byte(cve5 + "\n" + nvd), "tar.zst": packed.Bytes()} {
		to := two()
		n, err := cvss.Apply(bytes.NewReader(data), to)
		if err != nil || n != 2 {
			t.Fatalf("%s: %d records, %v", name, n, err)
		}
		if v := to["CVE-2026-1111"]; v.CVSS != 9.3 || v.CVSSVector != v40 || v.Description != "A flaw." {
			t.Errorf("%s: the newest version of CVSS counts, and the score is computed: %+v", name, v)
		}
		if v := to["CVE-2026-2222"]; v.CVSS != 9.8 || v.CVSSVector != v31 {
			t.Errorf("%s: NVD's primary metric counts: %+v", name, v)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, bad := range []string{"", "{}", "[]", "<html>", cve5[:100], cve5 + "x", "\x1f\x8b", "\x28\xb5\x2f\xfd"} {
		if _, err := cvss.Apply(strings.NewReader(bad), two()); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

func TestRealRecords(t *testing.T) {
	for _, c := range []struct {
		file    string
		records int
		cve     string
		score   float64
	}{
		{"vulnrichment/CVE-2024-38063.json", 1, "CVE-2024-38063", 9.8},
		{"nvd-api-2.0/single-entry.json", 1, "", 0},
		{"nvd-api-2.0/full-page.json", 38, "", 0},
		{"vulnrichment/vulnrichment-2024-major-vendors-and-kev.tar.zst", 2660, "CVE-2024-38063", 9.8},
	} {
		f, err := os.Open(filepath.Join("../../../../../shared/feeds/cve", c.file))
		if err != nil {
			t.Skipf("the real feeds are not beside this repository: %v", err)
		}
		to := enrich.Vulnerabilities{"CVE-2024-38063": {ID: "CVE-2024-38063"}}
		n, err := cvss.Apply(f, to)
		_ = f.Close()
		if err != nil || n != c.records {
			t.Errorf("%s: %d records, %v", c.file, n, err)
		}
		if c.cve != "" && to[c.cve].CVSS != c.score {
			t.Errorf("%s: %+v", c.file, to[c.cve])
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte(cve5))
	f.Add([]byte(nvd))
	f.Fuzz(func(t *testing.T, data []byte) {
		to := two()
		n, err := cvss.Apply(bytes.NewReader(data), to)
		for _, v := range to {
			if !(v.CVSS >= 0 && v.CVSS <= 10) || err == nil && n == 0 {
				t.Errorf("%d records, %+v", n, v)
			}
		}
	})
}
