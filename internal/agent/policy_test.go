package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

// TestPolicyFile: a limit that is not understood is not ignored, a slip of the
// pen in its name included.
func TestPolicyFile(t *testing.T) {
	file := filepath.Join(tempDir(t), "policy.json")
	for text, says := range map[string]string{
		`{"allow_instal": false}`:              "allow_instal",
		`{"allow_install": false} and so on`:   "can't be used",
		`{"allow_install": "no"}`:              "can't be used",
		`{"refuse_patches": ["["]}`:            "bad pattern",
		`[]`:                                   "can't be used",
		``:                                     "can't be used",
		`{"x":"` + strings.Repeat("x", 2<<20):  "can't be used",
		`{"refuse_patches": ["*"]} {"more":1}`: "can't be used",
	} {
		write(t, file, text)
		if _, err := loadPolicy(file); !fault.Is(err, fault.Denied) || !strings.Contains(fault.Public(err), says) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
	write(t, file, "{\"refuse_patches\": [\"*\"], \"max_reboots\": 1}\n\n")
	p, err := loadPolicy(file)
	check(t, err)
	if err := p.may(deploy.Install, []deploy.PatchRef{{ID: "winget:Some/Thing:1"}}); !fault.Is(err, fault.Denied) {
		t.Errorf("a star does not match every patch: %v", err)
	}
	check(t, os.Remove(file))
	if p, err := loadPolicy(file); err != nil || p.MaxReboots != 0 {
		t.Errorf("no file: %v", err)
	}
	if _, err := loadPolicy(filepath.Dir(file)); !fault.Is(err, fault.Denied) {
		t.Errorf("a folder in its place: %v", err)
	}
}
