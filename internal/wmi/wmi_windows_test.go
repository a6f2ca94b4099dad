package wmi

import (
	"context"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

// TestQuery asks WMI what the machine certainly has.
func TestQuery(t *testing.T) {
	rows, err := Query(t.Context(), CIMv2, "SELECT * FROM Win32_OperatingSystem", "Caption", "BuildNumber", "Version", "NoSuchThing")
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v, %v", rows, err)
	}
	if build := rows[0]["BuildNumber"]; build == "" || !strings.HasSuffix(rows[0]["Version"], "."+build) || rows[0]["Caption"] == "" {
		t.Errorf("%v", rows[0])
	}
	if _, has := rows[0]["NoSuchThing"]; has {
		t.Error("a property that there is not has a value")
	}
	rows, err = Query(t.Context(), "", "select Name, ProcessId from Win32_Process", "Name", "ProcessId")
	if err != nil || len(rows) < 2 {
		t.Errorf("processes: %v, %v", rows, err)
	}
}

func TestAny(t *testing.T) {
	for wql, want := range map[string]bool{
		"SELECT * FROM Win32_Process":                                         true,
		"SELECT * FROM Win32_OperatingSystem WHERE BuildNumber = '1'":         false,
		"select * from Win32_ComputerSystem where Manufacturer='No Such Ltd'": false,
	} {
		if got, err := Any(t.Context(), `Root\CIMv2`, wql); got != want || err != nil {
			t.Errorf("%s: %v, %v", wql, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ namespace, wql string }{{CIMv2, "SELECT FROM WHERE"}, {`root\nosuch`, "SELECT * FROM Win32_Process"}} {
		if got, err := Any(t.Context(), c.namespace, c.wql); got || !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v gives %v, %v", c, got, err)
		}
	}
	// Windows refuses a class that there is not; Wine finds nothing.
	if got, err := Any(t.Context(), CIMv2, "SELECT * FROM Win32_NoSuchClass"); got || err != nil && !fault.Is(err, fault.Invalid) {
		t.Errorf("a class that there is not gives %v, %v", got, err)
	}
	if got, err := Any(t.Context(), CIMv2, "SELECT * FROM Win32_Process WHERE Name LIKE '%"+strings.Repeat("x%", 3000)+"'"); got || err != nil && fault.Is(err, fault.Internal) {
		t.Errorf("a hostile pattern gives %v, %v", got, err)
	}
}

// TestStops: a caller who waits no longer is not kept.
func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Query(ctx, CIMv2, "SELECT * FROM Win32_Process", "Name"); !fault.Is(err, fault.Cancelled) {
		t.Errorf("%v", err)
	}
}

// TestManyThreads: each question has its own thread.
func TestManyThreads(t *testing.T) {
	done := make(chan error)
	for range 8 {
		go func() {
			_, err := Query(t.Context(), CIMv2, "SELECT * FROM Win32_ComputerSystem", "Name")
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
