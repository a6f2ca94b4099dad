package epss_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/enrich"
	"github.com/fettlehq/fettle/internal/publisher/enrich/epss"
)

const rows = "CVE-2020-5902,0.65117,0.99\nCVE-2018-19571,0.04773,0.87\n"

func pack(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func one() enrich.Vulnerabilities {
	return enrich.Vulnerabilities{"CVE-2020-5902": {ID: "CVE-2020-5902"}}
}

func TestForms(t *testing.T) {
	for name, text := range map[string]string{
		"2021-04": "cve,epss\nCVE-2020-5902,0.65117\nCVE-2018-19571,0.04773\n",
		"2021-09": "cve,epss,percentile\n" + rows,
		"2022":    "#model_version:v2022.01.01,score_date:2022-02-04T00:00:00+0000\ncve,epss,percentile\n" + rows,
		"windows": strings.ReplaceAll("#model_version:v2025.03.14,score_date:2026-11-21T00:00:00Z\ncve,epss,percentile\n"+rows, "\n", "\r\n"),
		"order":   "percentile,epss,cve\n0.99,0.65117,CVE-2020-5902\n0.1,1,CVE-2018-19571\n",
	} {
		for _, data := range [][]byte{[]byte(text), pack(t, text)} {
			to := one()
			n, err := epss.Apply(bytes.NewReader(data), to)
			if err != nil || n != 2 || to["CVE-2020-5902"].EPSS != 0.65117 {
				t.Errorf("%s: %d rows, %v, %+v", name, n, err, to["CVE-2020-5902"])
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	cut := pack(t, "cve,epss\n"+strings.Repeat("CVE-2020-5902,0.65117\n", 1000))
	for _, bad := range [][]byte{
		nil, []byte("<html>"), []byte("cve,epss\n"), []byte("cve;epss\nCVE-2020-5902;1\n"), []byte("cve,epss\nCVE-2020-5902,1.5\n"), []byte("cve,epss\nCVE-2020-5902,NaN\n"),
		[]byte("cve,epss\nCVE-2020-5902\n"), []byte("cve,epss\n5902,0.1\n"), cut[:len(cut)-4],
		{0x1f, 0x8b, 0},
		[]byte("cve,epss\n" + strings.Repeat("x", 1<<17)),
	} {
		if _, err := epss.Apply(bytes.NewReader(bad), one()); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
}

func TestRealSamples(t *testing.T) {
	dir := "../../../../../shared/feeds/epss/official-format-samples"
	files, err := filepath.Glob(filepath.Join(dir, "*.csv.gz"))
	if err != nil || len(files) == 0 {
		t.Skip("the real feeds are not beside this repository")
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		to := one()
		n, err := epss.Apply(f, to)
		_ = f.Close()
		if err != nil || n != 2 || to["CVE-2020-5902"].EPSS < 0.65 {
			t.Errorf("%s: %d rows, %v, %v", file, n, err, to["CVE-2020-5902"].EPSS)
		}
	}
	if len(files) != 4 {
		t.Errorf("%d samples, want 4", len(files))
	}
}

// big is a feed of the size that FIRST publishes.
func big(t testing.TB) []byte {
	var b strings.Builder
	b.WriteString("#model_version:v2025.03.14,score_date:2026-11-21T00:00:00Z\ncve,epss,percentile\n")
	for i := range 300_000 {
		fmt.Fprintf(&b, "CVE-%d-%d,0.%05d,0.5\n", 1999+i%27, 10000+i, i%100000)
	}
	return pack(t, b.String())
}

func TestRowsCostNoMemory(t *testing.T) {
	data := big(t)
	var n int
	allocs := testing.AllocsPerRun(1, func() {
		var err error
		if n, err = epss.Apply(bytes.NewReader(data), one()); err != nil {
			t.Fatal(err)
		}
	})
	if n != 300_000 || allocs > 10_000 {
		t.Errorf("%d rows took %.0f allocations", n, allocs)
	}
}

func BenchmarkApply(b *testing.B) {
	data := big(b)
	for b.Loop() {
		if _, err := epss.Apply(bytes.NewReader(data), one()); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte("#m\ncve,epss,percentile\n" + rows))
	f.Add(pack(f, "cve,epss\n"+rows))
	f.Fuzz(func(t *testing.T, data []byte) {
		to := one()
		n, err := epss.Apply(bytes.NewReader(data), to)
		if p := to["CVE-2020-5902"].EPSS; !(p >= 0 && p <= 1) || err == nil && n == 0 {
			t.Errorf("%d rows, score %v", n, p)
		}
	})
}
