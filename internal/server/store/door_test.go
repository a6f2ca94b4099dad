package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// doors are all functions of the server that reach the rows of more than one
// tenant, or of none, by their own decision. A new one belongs here only if
// there is no tenant whose scope it could use instead.
func doors() map[string]string {
	return map[string]string{
		// Rows of every tenant, without a scope.
		"store.Enrol":         "through: the token says which tenant; the rest of the transaction is narrowed to it",
		"store.flush":         "through: check-ins of all tenants share a transaction; CheckIn has judged each",
		"store.PruneSections": "through: what no machine has any more",
		// The server's own rows, and tables without tenants.
		"store.loadTokenKey":  "own: the key that all enrolment tokens are made with",
		"postgres.sign":       "own: the mark of the server that has the database",
		"postgres.sole":       "own: whose mark it is now",
		"store.FindCtx":       "nobody: sessions",
		"store.CommitCtx":     "nobody: sessions",
		"store.DeleteCtx":     "nobody: sessions",
		"store.PruneSessions": "nobody: sessions",
		"store.EnqueueJob":    "nobody: jobs",
		"store.ClaimJob":      "nobody: jobs",
		"store.RenewJob":      "nobody: jobs",
		"store.EndJob":        "nobody: jobs",
		"store.RetryJob":      "nobody: jobs",
		"store.NextJob":       "nobody: jobs",
		"store.ReleaseJobs":   "nobody: jobs",
		"store.PruneJobs":     "nobody: jobs",
		"store.HurryJobs":     "nobody: jobs",
		// The scope of the whole server.
		"store.CreateTenant":    "Everything: only such a scope may add a tenant",
		"store.Revoked":         "Everything: the gateway refuses certificates of every tenant's tombstones",
		"store.OpenDeployments": "Everything: the loop advances all tenants' deployments",
		"server.openStore":      "Everything: makes the first tenant",
		"server.fill":           "Everything: the index is built for all machines after a start",
		"server.finishCA":       "Everything: no machine of any tenant may know the CA",
		"server.wanted":         "Everything: a damaged payload may be any tenant's",
		"server.neededPayloads": "Everything: a payload goes when no tenant needs it",
		"audit.scopeOf":         "Everything: the server's own chain",
		"audit.Verify":          "Everything: every tenant's chain",
		"auth.all":              "Everything: a name or key is looked up before anybody knows whose it is",
		"auth.rules":            "Everything: the question whether somebody may",
		"auth.Setup":            "Everything: the first administrator is the server's",
		"auth.newOperatorKey":   "Everything: the local operator's key is the server's",
		"api.admit":             "Everything: routes of the whole server, for those who may",
		"api.widest":            "Everything: whoever may see all gets all",
	}
}

// TestDoors finds every such function in the source and wants the list to be
// the same: a new door is seen by whoever reads the list's change.
func TestDoors(t *testing.T) {
	found := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "storetest") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if use := doorOf(fn); use != "" {
				found[file.Name.Name+"."+fn.Name.Name] = use
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for name, why := range doors() {
		known[name], _, _ = strings.Cut(why, ":")
	}
	if diff := cmp.Diff(known, found); diff != "" {
		t.Errorf("who reaches more than one tenant's rows (- known, + found):\n%s", diff)
	}
}

// doorOf names the first call that leaves a tenant's scope, or "".
func doorOf(fn *ast.FuncDecl) string {
	use := ""
	ast.Inspect(fn, func(n ast.Node) bool {
		if lit, ok := n.(*ast.CompositeLit); ok && use == "" && len(lit.Elts) == 0 {
			if kind, ok := lit.Type.(*ast.SelectorExpr); ok && kind.Sel.Name == "Scope" {
				use = "Everything" // estate.Scope{} is the same
			}
		}
		call, ok := n.(*ast.CallExpr)
		if !ok || use != "" {
			return use == ""
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"through", "own", "nobody", "Everything"}, sel.Sel.Name) {
			return true
		}
		// "own" and the like are the store's; Everything is estate's.
		if on, ok := sel.X.(*ast.Ident); ok && on.Name == "estate" == (sel.Sel.Name == "Everything") {
			use = sel.Sel.Name
		} else if _, isField := sel.X.(*ast.SelectorExpr); isField && sel.Sel.Name != "Everything" {
			use = sel.Sel.Name
		}
		return true
	})
	return use
}
