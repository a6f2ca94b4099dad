package fettle

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/fettlehq/fettle/"

// house says where every package below internal stands. A folder that is not
// named here is a violation: whoever adds a word, tool or wing says so.
type house struct {
	// words are in tiers: a word imports only words of lower tiers, and fault.
	words [][]string
	tools []string
	wings []string
	// pure are modules beyond the standard library that words may use:
	// computation without any I/O.
	pure []string
}

func ourHouse() house {
	return house{
		words: [][]string{
			{"fault", "vercmp", "window"},
			{"estate", "detect"},
			{"inventory", "patch"},
			{"catalog", "approval"},
			{"deploy"},
			{"wire"},
		},
		tools: []string{"aptget", "atomicfile", "authentic", "blob", "buildinfo", "cabinet", "cfb", "deb822", "door", "fetch", "lan", "msifile", "pefile", "pki", "repo", "run", "settings", "terminal", "winargs", "winreg", "wmi"},
		wings: []string{"agent", "cli", "publisher", "relay", "server"},
		pure: []string{
			"github.com/klauspost/compress/zstd", "github.com/RoaringBitmap/roaring/v2",
			"github.com/teambition/rrule-go", "gonum.org/v1/gonum/graph", "github.com/pandatix/go-cvss",
		},
	}
}

// source is one parsed Go file. All platforms' files are parsed, not only
// those of the present one.
type source struct {
	file string // slash-separated, from the root of the repository
	dir  string
	test bool
	ast  *ast.File
	line int // number of lines
}

// parseTree parses every Go file of a tree but testdata and hidden folders.
func parseTree(tree fs.FS) ([]source, error) {
	var all []source
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (base == "testdata" || base == "node_modules" || base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{
			file: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			ast: parsed, line: strings.Count(string(data), "\n"),
		})
		return nil
	})
	return all, err
}

// imports lists the import paths of a file.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, p)
	}
	return paths
}

// checkImports applies rules 1 to 4 of the house to all files that are not
// tests.
func (h house) checkImports(files []source) []string {
	var bad []string
	for _, f := range files {
		if f.test {
			continue
		}
		for _, imp := range f.imports() {
			if why := h.forbidden(f.dir, imp); why != "" {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", f.file, strings.TrimPrefix(imp, module), why))
			}
		}
	}
	return bad
}

// forbidden says why code in dir must not import imp, or "".
func (h house) forbidden(dir, imp string) string {
	to, ours := strings.CutPrefix(imp, module)
	from, inside := strings.CutPrefix(dir, "internal/")
	if !inside {
		return h.forbiddenOutside(dir, to, ours)
	}
	top, _, _ := strings.Cut(from, "/")
	tier := h.tier(top)
	switch {
	case tier >= 0:
		return h.forbiddenInWord(tier, top, imp, ours)
	case slices.Contains(h.tools, top):
		return h.forbiddenInTool(to, ours)
	case slices.Contains(h.wings, top):
		return h.forbiddenInWing(from, to, ours)
	}
	return "internal/" + top + " is not named in the house: add it to ourHouse as a word, tool or wing"
}

// forbiddenOutside is for cmd, test, web and what else stands beside internal.
func (h house) forbiddenOutside(dir, to string, ours bool) string {
	top, _, _ := strings.Cut(dir, "/")
	if !ours || top == "cmd" || top == "test" {
		return ""
	}
	if top == "web" || strings.HasPrefix(to, "internal/") {
		return "only cmd and test look into internal"
	}
	return ""
}

// tier is the tier of a word, -1 for all else.
func (h house) tier(name string) int {
	return slices.IndexFunc(h.words, func(tier []string) bool { return slices.Contains(tier, name) })
}

// forbiddenInWord: rule 1, words are pure.
func (h house) forbiddenInWord(tier int, word, imp string, ours bool) string {
	if !ours {
		return h.impure(imp)
	}
	rest, _ := strings.CutPrefix(strings.TrimPrefix(imp, module), "internal/")
	top, _, _ := strings.Cut(rest, "/")
	if top == word || top == "fault" {
		return ""
	}
	if t := h.tier(top); t < 0 || t >= tier {
		return "a word imports only words below it"
	}
	return ""
}

// impure says why a word must not use a package of others.
func (h house) impure(imp string) string {
	switch imp {
	case "net/url", "net/netip", "net/mail", "net/textproto":
		return ""
	case "crypto/rand", "math/rand", "math/rand/v2", "embed", "plugin":
		return "a word is pure"
	}
	for _, root := range []string{"net", "os", "database/sql", "syscall", "log", "testing", "runtime"} {
		if imp == root || strings.HasPrefix(imp, root+"/") {
			return "a word is pure"
		}
	}
	if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
		return ""
	}
	for _, root := range h.pure {
		if imp == root || strings.HasPrefix(imp, root+"/") {
			return ""
		}
	}
	return "a word uses the standard library and a few pure modules (house.pure)"
}

// forbiddenInTool: rule 2, tools have never heard of a patch.
func (h house) forbiddenInTool(to string, ours bool) string {
	rest, internal := strings.CutPrefix(to, "internal/")
	top, _, _ := strings.Cut(rest, "/")
	if !ours || internal && (top == "fault" || slices.Contains(h.tools, top)) {
		return ""
	}
	return "a tool imports fault and tools"
}

// forbiddenInWing: rules 3 and 4. from and to are paths such as
// "server/store"; the root of a wing is where its rooms meet.
func (h house) forbiddenInWing(from, to string, ours bool) string {
	if !ours {
		return ""
	}
	rest, internal := strings.CutPrefix(to, "internal/")
	if !internal {
		if to == "web" {
			return ""
		}
		return "a wing imports from internal only"
	}
	top, _, _ := strings.Cut(rest, "/")
	wing, _, isRoom := strings.Cut(from, "/")
	switch {
	case !slices.Contains(h.wings, top):
		return "" // words and tools
	case top != wing:
		return "wings meet only through wire, the API and the signed repository"
	case !isRoom, within(from, rest), within(rest, from):
		return "" // the wing's root; a parent; a part of itself
	case path.Base(from) == "all" && within(rest, path.Dir(from)):
		return "" // the list of niches
	}
	return "a room never imports a sibling: declare a small interface, the wing's root hands it in"
}

// within reports whether p is dir or below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// checkClock reports words that read the clock: time is an argument.
func (h house) checkClock(files []source) []string {
	var bad []string
	for _, f := range files {
		top, _, _ := strings.Cut(strings.TrimPrefix(f.dir, "internal/"), "/")
		if f.test || h.tier(top) < 0 || !strings.HasPrefix(f.dir, "internal/") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "Sleep", "NewTimer", "NewTicker", "Tick", "AfterFunc"}, sel.Sel.Name) {
				bad = append(bad, f.file+" reads the clock: time."+sel.Sel.Name)
			}
			return true
		})
	}
	return bad
}
