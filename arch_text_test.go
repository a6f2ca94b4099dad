package fettle

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// checkDocs wants exactly one package comment in every folder with code, in
// the form that go doc shows well.
func checkDocs(files []source) []string {
	docs, code := map[string][]source{}, map[string]bool{}
	for _, f := range files {
		if f.test {
			continue
		}
		code[f.dir] = true
		if f.ast.Doc != nil {
			docs[f.dir] = append(docs[f.dir], f)
		}
	}
	var bad []string
	for dir := range code {
		if n := len(docs[dir]); n != 1 {
			bad = append(bad, fmt.Sprintf("%s has %d package comments, want one", dir, n))
			continue
		}
		f := docs[dir][0]
		want := "Package " + f.ast.Name.Name + " "
		if f.ast.Name.Name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if text := strings.Join(strings.Fields(f.ast.Doc.Text()), " ") + " "; !strings.HasPrefix(text, want) {
			bad = append(bad, fmt.Sprintf("%s: the package comment does not begin with %q", f.file, want))
		}
	}
	slices.Sort(bad)
	return bad
}

// checkNiches wants every folder beside a folder "all" to be imported there, but
// the one with which the niches are tested, such as collecttest.
func checkNiches(files []source) []string {
	code, listed := map[string]bool{}, map[string][]string{}
	for _, f := range files {
		niche := path.Base(f.dir)
		if f.test || niche == path.Base(path.Dir(f.dir))+"test" { // what the tests of the niches share
			continue
		}
		code[f.dir] = true
		if niche == "all" {
			listed[f.dir] = append(listed[f.dir], f.imports()...)
		}
	}
	var bad []string
	for all, imports := range listed {
		for dir := range code {
			if path.Dir(dir) == path.Dir(all) && dir != all && !slices.Contains(imports, module+dir) {
				bad = append(bad, dir+" is not listed in "+all)
			}
		}
	}
	slices.Sort(bad)
	return bad
}

// checkInit forbids init functions: what registers itself cannot be seen.
func checkInit(files []source) []string {
	var bad []string
	for _, f := range files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && !ast.IsGenerated(f.ast) {
				bad = append(bad, f.file+" has an init function")
			}
		}
	}
	return bad
}

// checkMains wants each program's main.go to be short, and what stands beside
// it to put wings together and nothing else: only cmd may import several wings,
// so the subcommands that need them (up, publisher, server) stand there.
func checkMains(files []source) []string {
	var bad []string
	for _, f := range files {
		if top, _, _ := strings.Cut(f.dir, "/"); top != "cmd" || f.test {
			continue
		}
		limit := 20
		if path.Base(f.file) != "main.go" {
			limit = 260
		}
		if f.line > limit {
			bad = append(bad, fmt.Sprintf("%s has %d lines, at most %d", f.file, f.line, limit))
		}
	}
	return bad
}

// checkSize reports files that are longer than limit lines and hold no table:
// the house aims for 300 and this is the hard end of it.
func checkSize(files []source, limit int) []string {
	var bad []string
	for _, f := range files {
		if f.line > limit && !f.test && !ast.IsGenerated(f.ast) {
			bad = append(bad, fmt.Sprintf("%s has %d lines: split it by noun", f.file, f.line))
		}
	}
	return bad
}

// badNames are package names that say nothing.
func badNames() []string {
	return []string{"util", "utils", "common", "models", "helpers", "helper", "manager", "types", "misc"}
}

// checkNames forbids package names that say nothing.
func checkNames(files []source) []string {
	var bad []string
	for _, f := range files {
		if slices.Contains(badNames(), path.Base(f.dir)) {
			bad = append(bad, f.file+": the package name says nothing")
		}
	}
	return bad
}

// checkHosts looks for host names of package registries in files.
func checkHosts(files map[string][]byte, hosts []string) []string {
	var bad []string
	for name, data := range files {
		for _, host := range hosts {
			if i := bytes.Index(bytes.ToLower(data), []byte(host)); i >= 0 {
				line := 1 + bytes.Count(data[:i], []byte("\n"))
				bad = append(bad, fmt.Sprintf("%s:%d names the package registry %s: use a name below .example", name, line, host))
			}
		}
	}
	slices.Sort(bad)
	return bad
}

// checkGlobals reports package-level variables that are exported or written
// to. An unexported table that is only read does no harm.
func checkGlobals(files []source) []string {
	written := writtenNames(files)
	var bad []string
	for _, f := range files {
		if f.test || ast.IsGenerated(f.ast) {
			continue
		}
		for _, name := range globals(f.ast) {
			switch {
			case name == "_":
			case ast.IsExported(name) && !strings.HasPrefix(name, "Err"):
				bad = append(bad, fmt.Sprintf("%s: %s is an exported variable", f.file, name))
			case written[f.dir][name]:
				bad = append(bad, fmt.Sprintf("%s: %s is a global variable that is written to", f.file, name))
			}
		}
	}
	return bad
}

// globals lists the package-level variables of a file; embedded files, which
// must be variables, are left out.
func globals(f *ast.File) []string {
	var names []string
	for _, d := range f.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR || strings.Contains(comment(gen.Doc), "//go:embed") {
			continue
		}
		for _, spec := range gen.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

// comment is the raw text of a comment group, directives included.
func comment(g *ast.CommentGroup) string {
	text := ""
	if g != nil {
		for _, c := range g.List {
			text += c.Text + "\n"
		}
	}
	return text
}

// writtenNames collects, for each folder, the names that code assigns to, takes
// the address of, deletes from or clears. Locals of the same name count too: a
// global should not share its name with one.
func writtenNames(files []source) map[string]map[string]bool {
	written := map[string]map[string]bool{}
	for _, f := range files {
		if written[f.dir] == nil {
			written[f.dir] = map[string]bool{}
		}
		mark := func(e ast.Expr) {
			if name := rootName(e); name != "" {
				written[f.dir][name] = true
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						mark(e)
					}
				}
			case *ast.IncDecStmt:
				mark(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					mark(n.X)
				}
			case *ast.CallExpr:
				if fn, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (fn.Name == "delete" || fn.Name == "clear") {
					mark(n.Args[0])
				}
			}
			return true
		})
	}
	return written
}

// rootName is the variable at the root of an expression such as x.a[1].
func rootName(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x.Name
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return ""
		}
	}
}
