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

// TestTrustRow11HostileQueries: no rule makes the machine sign in elsewhere,
// repair its products, or count its files.
func TestTrustRow11HostileQueries(t *testing.T) {
	for _, wql := range []string{
		`SELECT * FROM CIM_DataFile WHERE Name='\\\\attacker\\share\\x'`, `SELECT * FROM CIM_DataFile WHERE Name="//attacker/share/x"`,
		`SELECT * FROM Win32_PingStatus WHERE Address='attacker.example'`, `SELECT * FROM CIM_Product`, `SELECT * FROM Win32_Product,x`,
		"SELECT *\u00a0FROM\u00a0Win32_Product", `SELECT * FROM Win32_SoftwareFeature`, `SELECT * FROM CIM_LogicalElement`, `SELECT * FROM Win32_Directory`,
	} {
		if err := check(CIMv2, wql); !fault.Is(err, fault.Unsupported) {
			t.Errorf("%s: %v", wql, err)
		}
	}
	for _, namespace := range []string{`\\attacker\root\cimv2`, `//attacker/root/cimv2`, `/\attacker\root`, `!\\attacker\root`} {
		if err := check(namespace, "SELECT * FROM Win32_Process"); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", namespace, err)
		}
	}
	for _, wql := range []string{
		`SELECT * FROM Win32_PnPEntity WHERE DeviceID LIKE 'PCI\\VEN_8086%'`, `SELECT * FROM CIM_DataFile WHERE Name='C:\\Windows\\x.exe'`,
		`SELECT * FROM Win32_ComputerSystem WHERE Model LIKE '%a/b%'`,
	} {
		if err := check(CIMv2, wql); err != nil {
			t.Errorf("%s: %v", wql, err)
		}
	}
}
