package script

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/publisher"
)

// pages are the documents of the repository that people follow.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d documents, %v", len(files), err)
	}
	all := map[string]string{}
	for _, f := range append(files, "../../README.md", "../../ARCHITECTURE.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[f] = string(text)
	}
	return all
}

// command is a line of a block that runs one of our programs.
var command = regexp.MustCompile(`(?m)^(?:\$ )?(fettle|fettle-agent)((?: [^\n#]*)?)(?:#.*)?$`)

// TestDocsCommands asks the programs for every command line in the documents:
// the command exists and takes these flags. It is not run: --help comes last.
func TestDocsCommands(t *testing.T) {
	n := 0
	for file, text := range pages(t) {
		for i, block := range strings.Split(text, "```") {
			if i%2 == 0 {
				continue // outside of blocks
			}
			for _, m := range command.FindAllStringSubmatch(block, -1) {
				if m[1] == "fettle-agent" && strings.HasPrefix(m[2], " service ") {
					continue // only the agent for Windows has these
				}
				n++
				line, _, _ := strings.Cut(m[1]+" "+strings.TrimSpace(m[2]), " > ") // nothing is written
				cmd := exec.Command("sh", "-c", line+" --help")
				cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
				out, err := cmd.CombinedOutput()
				if err != nil || !strings.Contains(string(out), "Usage:") {
					t.Errorf("%s: %s\n%v %s", file, line, err, out)
				}
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d commands were found: the test proves little", n)
	}
}

// named is a test with the file that holds it, as the threat model names them.
var named = regexp.MustCompile("((?:`Test\\w+`(?:, )?)+) \\(([\\w/.]+_test\\.go)\\)")

// TestThreatModelNamesRealTests keeps the document honest: each test that it
// names exists, and no test named after a row is left out.
func TestThreatModelNamesRealTests(t *testing.T) {
	text := pages(t)["../../docs/threat-model.md"]
	said := map[string]bool{}
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		source, err := os.ReadFile("../../" + m[2])
		if err != nil {
			t.Error(err)
			continue
		}
		for name := range strings.SplitSeq(m[1], ", ") {
			name = strings.Trim(name, "`")
			said[name] = true
			if !strings.Contains(string(source), "func "+name+"(") {
				t.Errorf("%s has no %s", m[2], name)
			}
		}
	}
	if len(said) < 30 {
		t.Errorf("only %d tests are named: the pattern does not fit the text", len(said))
	}
	out, err := exec.Command("grep", "-rhoE", "--include=*_test.go", `^func TestTrustRow\w+`, "../..").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if name := strings.TrimPrefix(strings.TrimSpace(line), "func "); !said[name] {
			t.Errorf("%s attacks a row and is not in the threat model", name)
		}
	}
}

// TestDocsConfigurations reads the configuration files of the documents with
// the programs that they are for.
func TestDocsConfigurations(t *testing.T) {
	block := func(page string) string {
		_, rest, ok := strings.Cut(pages(t)[page], "```yaml\n")
		text, _, closed := strings.Cut(rest, "```")
		if !ok || !closed {
			t.Fatalf("%s has no YAML", page)
		}
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cfg, err := publisher.Load(block("../../docs/publisher.md"))
	if err != nil {
		t.Error(err)
	}
	if len(cfg.Archives) != 1 || cfg.Expiry.Timestamp == 0 || cfg.Feeds.CVSS == "" || cfg.Proxy == "" || cfg.AptEtc == "" {
		t.Errorf("not all of it is understood: %+v", cfg)
	}
	// The server gets as far as looking for the root metadata.
	out, err := exec.Command("fettle", "server", "--data", t.TempDir(), "--config", block("../../docs/server.md")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "root metadata /etc/fettle/root.json can't be read") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestDocsLinks follows every link from one document to another file.
func TestDocsLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	files := pages(t)
	more, err := filepath.Glob("../../docs/decisions/*.md")
	if err != nil || len(more) < 8 {
		t.Fatalf("%d decisions, %v", len(more), err)
	}
	for _, f := range more {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		files[f] = string(text)
	}
	for file, text := range files {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.HasSuffix(m[1], "performance.md") {
				continue // written by the benchmark's own run
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}
