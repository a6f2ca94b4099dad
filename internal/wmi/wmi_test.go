package wmi

import (
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

func TestCheck(t *testing.T) {
	for wql, want := range map[string]fault.Code{
		"SELECT * FROM Win32_BaseBoard WHERE Product LIKE '%1905%'": "", "select Name from Win32_ComputerSystem": "",
		"": fault.Invalid, "ASSOCIATORS OF {Win32_Process='1'}": fault.Invalid, "SELECT *\x00": fault.Invalid,
		"SELECT " + strings.Repeat("x", maxQuery): fault.Invalid, "Select Name\nFrom WIN32_product": fault.Unsupported,
	} {
		if got := fault.CodeOf(check(CIMv2, wql)); got != want {
			t.Errorf("%.40q: %q, want %q", wql, got, want)
		}
	}
	for _, namespace := range []string{`\\server1\root\cimv2`, "root\x00"} {
		if err := check(namespace, "SELECT * FROM Win32_Process"); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", namespace, err)
		}
	}
}
