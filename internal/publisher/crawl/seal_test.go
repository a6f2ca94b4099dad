package crawl_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/authentic/authenticode"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/winget/wingettest"
)

// TestSeal: the exact name of the signer counts.
func TestSeal(t *testing.T) {
	now := time.Date(2031, 3, 4, 0, 0, 0, 0, time.UTC)
	v := wingettest.New(t, now)
	text, err := os.ReadFile(v.Root)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := authenticode.ParseRoots(text)
	if err != nil {
		t.Fatal(err)
	}
	cab := filepath.Join(t.TempDir(), "c.cab")
	if said, err := exec.Command("gcab", "-c", "-n", cab, v.Root).CombinedOutput(); err != nil {
		t.Fatalf("gcab: %v %s", err, said)
	}
	v.Sign(t, cab, "Maker Inc")
	f, err := os.Open(cab)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seal := func(signer string) crawl.Seal {
		return crawl.Seal{Signer: signer, Trust: authenticode.Trust{Roots: roots}, Now: func() time.Time { return now }}
	}
	for _, signer := range []string{"Maker Inc", "Maker Inc Organization"} {
		p, err := seal(signer).Check(f)
		if err != nil || p.Signer != signer || p.Issuer != "Test Root" || len(p.Certificate) != 64 || !strings.Contains(p.Tell(), "signed by "+signer+", issued by Test Root, certificate "+p.Certificate) {
			t.Errorf("%s: %+v, %v", signer, p, err)
		}
	}
	for _, signer := range []string{"maker inc", "Maker", "Maker Inc ", "Test Root"} {
		if p, err := seal(signer).Check(f); p != nil || !fault.Is(err, fault.Untrusted) {
			t.Errorf("%q: %+v, %v", signer, p, err)
		}
	}
	if p, err := seal("").Check(f); p != nil || err != nil {
		t.Errorf("nothing is asked for: %+v, %v", p, err)
	}
	from := seal("Maker Inc").From()
	fewer := seal("Maker Inc")
	fewer.Trust.Roots = nil
	if from == seal("Taker Inc").From() || from == fewer.From() || from != seal("Maker Inc").From() || seal("").From() != "" {
		t.Errorf("%q does not tell signers and roots apart", from)
	}
	if fewer.Validate() == nil || seal("").Validate() != nil || seal("x").Validate() != nil {
		t.Error("a signature without roots is asked for")
	}
}
