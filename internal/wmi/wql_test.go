package wmi

import (
	"slices"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

func TestQuestion(t *testing.T) {
	board := map[string]any{
		"manufacturer": "HP", "product": "8055", "model": nil, "cores": int64(4), "memory": "17179869184", "deviceid": `PCI\VEN_8086&DEV_2822&SUBSYS_1`,
		"hosting": true, "releasedate": "20190204000000.000000+000", "version": "4.10.0.0", "load": 2.5,
	}
	for where, want := range map[string]bool{
		"": true, "Product LIKE '%2175%' or Product like '%805_'": true, "PRODUCT = '8055'": true, "Manufacturer = 'hp'": true, "Manufacturer='HPE'": false,
		"(Manufacturer='Hewlett-Packard' and not (Model like '%Proliant%')) or (Manufacturer='HP')": true,
		"Manufacturer='Hewlett-Packard' or Manufacturer='HP' and Product='1'":                       false,
		"(Manufacturer='Hewlett-Packard' or Manufacturer='HP') and Product='8055'":                  true,
		`DeviceID LIKE '%PCI\\VEN_8086&DEV_2822%'`:                                                  true, `DeviceID LIKE "PCI\\VEN_8087%"`: false, `DeviceID LIKE '%VEN[_]8086&DEV[_]282[0-3]&%'`: true,
		`DeviceID LIKE '%DEV[^_]%'`: false, "Cores >= 4": true, "Cores > 4": false, "Cores = '4'": true, "Cores <> 5": true, "Cores != 4": false,
		"Memory >= 17179869184": true, "Memory < 17179869185": true, "Model IS NULL": true, "Model is not null": false, "Product IS NOT NULL": true,
		"Model = 'x'": false, "Model <> 'x'": false, "NOT Model = 'x'": true, "Hosting = TRUE": true, "Hosting = 'false'": false, "None = 1": false,
		"ReleaseDate>='20190204' ": true, "ReleaseDate>='20190205'": false, "Version >= '4.4.0.0'": false, "Load > 2": true, "Load like '2.5'": true,
		"Product = 8055": true, "Product >= -1": true, "Manufacturer = 1": false, `Manufacturer = 'H\P'`: true, "Manufacturer like 'h[p'": false, "Hosting like 'TRUE'": true,
	} {
		wql := "SELECT * FROM Win32_BaseBoard"
		if where != "" {
			wql += " WHERE " + where
		}
		q, err := ParseQuestion(wql)
		if err != nil || q.Class != "Win32_BaseBoard" {
			t.Errorf("%s: %+v, %v", where, q, err)
			continue
		}
		if got := q.Matches(func(name string) any { return board[name] }); got != want {
			t.Errorf("%s: %v", where, got)
		}
	}
	q, err := ParseQuestion("select Name, Version\nfrom Win32_Product where B='1' and (a>1 or b<2)")
	if err != nil || !slices.Equal(q.Properties(), []string{"a", "b"}) {
		t.Errorf("%v, %v", q.Properties(), err)
	}
}

func TestQuestionRefuses(t *testing.T) {
	for _, wql := range []string{
		"", "SELECT", "SELECT * FROM", "SELECT * FROM 'x'", "SELECT * FROM A WHERE", "SELECT * FROM A WHERE b", "SELECT * FROM A WHERE b =", "SELECT * FROM A WHERE b = c",
		"SELECT * FROM A WHERE b = 'x", "SELECT * FROM A WHERE (b = 1", "SELECT * FROM A WHERE b = 1)", "SELECT * FROM A WHERE b LIKE 1", "SELECT * FROM A WHERE 1 = b",
		"SELECT * FROM A WHERE b ISA 'x'", "SELECT * FROM A WHERE b IS 1", "SELECT * FROM A; x", "ASSOCIATORS OF {A}", "SELECT * FROM A WHERE b.c = 1", "SELECT * FROM A WHERE b = -",
		"SELECT * FROM A WHERE b = 1.2.3", "SELECT * FROM A GROUP WITHIN 5", "SELECT * FROM A WHERE b = NULL",
		"SELECT * FROM A WHERE " + strings.Repeat("(", 100) + "b=1" + strings.Repeat(")", 100), "SELECT * FROM A WHERE b=1" + strings.Repeat(" OR b=1", maxTerms),
	} {
		if q, err := ParseQuestion(wql); !fault.Is(err, fault.Unsupported) {
			t.Errorf("%.60q: %+v, %v", wql, q, err)
		}
	}
}

// TestLikeIsBounded: a hostile pattern takes no exponential time, which would
// never end.
func TestLikeIsBounded(t *testing.T) {
	if matches(strings.Repeat("a", 4000), strings.Repeat("%a", 1000)+"b") {
		t.Error("it matches")
	}
}

func FuzzQuestion(f *testing.F) {
	f.Add("SELECT * FROM Win32_PnpEntity WHERE DeviceID LIKE '%PCI\\\\VEN_8086%' or not (a >= 1 and b is null)", "PCI")
	f.Add("select a,b from c where d like '[a-c^%_]x'", "")
	f.Fuzz(func(t *testing.T, wql, value string) {
		q, err := ParseQuestion(wql)
		if err != nil {
			if !fault.Is(err, fault.Unsupported) {
				t.Fatal(err)
			}
			return
		}
		q.Matches(func(string) any { return value })
		q.Matches(func(string) any { return nil })
		q.Matches(func(string) any { return int64(len(value)) })
	})
}
