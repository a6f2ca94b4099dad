//go:build !race

// What the race detector makes slow and finds nothing in.

package sdp

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

// endless is a package of four gigabytes, which a cabinet of two megabytes may
// unpack to.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left -= len(p); e.left < 0 {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// TestTrustRow2EndlessPackage: a catalog's package that unpacks beyond measure
// is refused before it fills the memory.
func TestTrustRow2EndlessPackage(t *testing.T) {
	for name, start := range map[string]string{
		"a text":      `<SoftwareDistributionPackage><LocalizedProperties><Title>`,
		"a name":      `<SoftwareDistributionPackage a="`,
		"between":     `<SystemsManagementCatalog>`,
		"not a known": `<other><b>`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseCatalog(io.MultiReader(strings.NewReader(start), &endless{1 << 32}))
		runtime.ReadMemStats(&after)
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; !fault.Is(err, fault.Invalid) || mib > 512 {
			t.Errorf("%s: %d MiB, %v", name, mib, err)
		}
	}
}
