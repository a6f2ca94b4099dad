package winapps

import (
	"fmt"
	"testing"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
)

// TestTrustRow6UsersRows: a user without rights fills his own part of the
// registry; the machine's products and other users' are listed all the same.
func TestTrustRow6UsersRows(t *testing.T) {
	reg := &winreg.Memory{}
	set := func(key, name, text string) {
		t.Helper()
		if err := reg.Set(key, name, winreg.Value{Type: winreg.SZ, Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	wide := func(s string) string { // UTF-16
		var out []byte
		for _, c := range []byte(s) {
			out = append(out, c, 0)
		}
		return string(out)
	}
	const mallory, ben = "S-1-5-21-9-9-9-1001", "S-1-5-21-9-9-9-1002"
	set(`HKLM\`+uninstall+`\Lab`, "DisplayName", wide("Lab"))
	set(`HKU\`+ben+`\`+uninstall+`\Ben`, "DisplayName", wide("Ben's"))
	for i := range 5000 {
		set(fmt.Sprintf(`HKU\%s\%s\k%d`, mallory, uninstall, i), "DisplayName", wide("Mallory's"))
	}
	for _, sid := range []string{mallory, ben} {
		set(profileList+`\`+sid, "ProfileImagePath", wide(`C:\Users\`+sid))
	}
	tree, err := collect.Image(t.TempDir(), reg)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	snap := &inventory.Snapshot{OS: inventory.OS{Family: "windows", Arch: "amd64"}}
	if err := gather(t.Context(), tree, snap); err == nil {
		t.Error("nobody is told")
	}
	count := map[string]int{}
	for _, p := range snap.Packages {
		count[p.Title]++
	}
	if count["Lab"] == 0 || count["Ben's"] != 1 || count["Mallory's"] != maxOwn {
		t.Errorf("%v", count)
	}
}
