package fettle

import (
	"strings"
	"testing"
	"testing/fstest"
)

// madeUp parses sources given as "path": "text".
func madeUp(t *testing.T, sources map[string]string) []source {
	t.Helper()
	tree := fstest.MapFS{}
	for name, text := range sources {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	files, err := parseTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestImportRulesCanFail(t *testing.T) {
	for _, tc := range []struct {
		dir, imp string
		allowed  bool
	}{
		{"internal/patch", "strings", true},
		{"internal/patch", "net/netip", true},
		{"internal/patch", "net", false},
		{"internal/patch", "net/http", false},
		{"internal/patch", "os", false},
		{"internal/patch", "os/exec", false},
		{"internal/patch", "database/sql/driver", false},
		{"internal/patch", "example.org/some/module", false},
		{"internal/catalog", "github.com/klauspost/compress/zstd", true},
		{"internal/patch", module + "internal/fault", true},
		{"internal/patch", module + "internal/detect", true},
		{"internal/patch", module + "internal/inventory", false}, // the same tier
		{"internal/patch", module + "internal/catalog", false},   // above
		{"internal/patch", module + "internal/run", false},       // a tool
		{"internal/vercmp", module + "internal/fault", true},
		{"internal/wire", module + "internal/deploy", true},
		{"internal/run", "os/exec", true},
		{"internal/run", module + "internal/fault", true},
		{"internal/repo/client", module + "internal/repo", true},
		{"internal/run", module + "internal/patch", false},
		{"internal/run", module + "internal/server", false},
		{"internal/server/store", module + "internal/estate", true},
		{"internal/server/store", module + "internal/blob/fs", true},
		{"internal/server/store", module + "internal/server/audit", false}, // a sibling
		{"internal/server/store", module + "internal/agent/journal", false},
		{"internal/server/store", module + "internal/server/store/sqlite", true},
		{"internal/server/store/sqlite", module + "internal/server/store", true},
		{"internal/server/store/sqlite", module + "internal/server/store/postgres", false},
		{"internal/server", module + "internal/server/store", true},
		{"internal/server", module + "internal/publisher/crawl", false},
		{"internal/server", module + "web", true},
		{"internal/server", module + "test/lab", false},
		{"internal/publisher/crawl/all", module + "internal/publisher/crawl/debian", true},
		{"internal/publisher/crawl/debian", module + "internal/publisher/crawl", true},
		{"internal/publisher/crawl/debian", module + "internal/publisher/crawl/ubuntu", false},
		{"internal/surprise", "strings", false},
		{"cmd/fettle", module + "internal/server", true},
		{"test/lab", module + "internal/server/store", true},
		{"web", module + "internal/server", false},
	} {
		text := "package x\nimport _ \"" + tc.imp + "\"\n"
		bad := ourHouse().checkImports(madeUp(t, map[string]string{tc.dir + "/x.go": text}))
		if (len(bad) == 0) != tc.allowed {
			t.Errorf("%s importing %s: allowed %v, violations %q", tc.dir, tc.imp, tc.allowed, bad)
		}
		if bad := ourHouse().checkImports(madeUp(t, map[string]string{tc.dir + "/x_test.go": text})); len(bad) > 0 {
			t.Errorf("a test in %s is held to the rules of the product: %q", tc.dir, bad)
		}
	}
}

func TestTextRulesCanFail(t *testing.T) {
	const doc = "// Package x is here.\n"
	list := func(imports ...string) string {
		return doc + "package x\nimport (\n_ \"" + strings.Join(imports, "\"\n_ \"") + "\"\n)\n"
	}
	for _, tc := range []struct {
		name  string
		check func([]source) []string
		tree  map[string]string
		bad   int
	}{
		{"doc", checkDocs, map[string]string{"x/a.go": doc + "package x", "x/b.go": "package x"}, 0},
		{"no doc", checkDocs, map[string]string{"x/a.go": "package x"}, 1},
		{"detached doc", checkDocs, map[string]string{"x/a.go": doc + "\npackage x"}, 1},
		{"two docs", checkDocs, map[string]string{"x/a.go": doc + "package x", "x/b.go": doc + "package x"}, 1},
		{"other doc", checkDocs, map[string]string{"x/a.go": "// Here be x.\npackage x"}, 1},
		{"command doc", checkDocs, map[string]string{"cmd/x/main.go": "// Command x runs.\npackage main"}, 0},
		{"testdata", checkDocs, map[string]string{"x/testdata/a.go": "package y"}, 0},
		{"niches", checkNiches, map[string]string{"k/all/a.go": list(module + "k/a"), "k/a/a.go": doc + "package a"}, 0},
		{"what niches test with", checkNiches, map[string]string{"k/all/a.go": list(module + "k/a"), "k/a/a.go": doc + "package a", "k/ktest/b.go": doc + "package ktest"}, 0},
		{"lost niche", checkNiches, map[string]string{"k/all/a.go": list(module + "k/a"), "k/a/a.go": doc + "package a", "k/b/b.go": doc + "package b"}, 1},
		{"init", checkInit, map[string]string{"x/a.go": "package x\nfunc init() {}"}, 1},
		{"method init", checkInit, map[string]string{"x/a.go": "package x\ntype T int\nfunc (T) init() {}"}, 0},
		{"clock", ourHouse().checkClock, map[string]string{"internal/patch/a.go": "package patch\nimport \"time\"\nvar x = time.Now()"}, 1},
		{"clock in a tool", ourHouse().checkClock, map[string]string{"internal/run/a.go": "package run\nimport \"time\"\nvar x = time.Now()"}, 0},
		{"main", checkMains, map[string]string{"cmd/x/main.go": strings.Repeat("//\n", 19) + "package main\n"}, 0},
		{"long main", checkMains, map[string]string{"cmd/x/main.go": strings.Repeat("//\n", 20) + "package main\n"}, 1},
		{"company of main", checkMains, map[string]string{"cmd/x/flags.go": "package main\n"}, 0},
		{"long company of main", checkMains, map[string]string{"cmd/x/flags.go": strings.Repeat("//\n", 260) + "package main\n"}, 1},
		{"exported global", checkGlobals, map[string]string{"x/a.go": "package x\nvar N = 1"}, 1},
		{"written global", checkGlobals, map[string]string{"x/a.go": "package x\nvar n = 1\nvar m = map[int]int{}\nvar b T", "x/b.go": "package x\nfunc f() { n++; m[1] = 2; g(&b.c) }"}, 3},
		{"table", checkGlobals, map[string]string{"x/a.go": "package x\nconst n = 1\nvar ErrX = f()\nvar _ I = T{}\nvar t = []int{1}\nfunc f() int { n := t[0]; n = 2; return n }"}, 0},
		{"embedded", checkGlobals, map[string]string{"x/a.go": "package x\n\n//go:embed a\nvar f embed.FS"}, 0},
		{"size", func(s []source) []string { return checkSize(s, 2) }, map[string]string{"x/a.go": "package x\n\n\n"}, 1},
		{"name", checkNames, map[string]string{"x/util/a.go": "package util"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if bad := tc.check(madeUp(t, tc.tree)); len(bad) != tc.bad {
				t.Errorf("%d violations, want %d: %q", len(bad), tc.bad, bad)
			}
		})
	}
}

func TestHostRulesCanFail(t *testing.T) {
	hosts := hostsOf([]string{"http://Mirror.example/debian", "http://127.0.0.1:3142/", "http://[::1]/", "direct", "off", "https://proxy.example", "http://mirror.example/other"})
	if got := strings.Join(hosts, " "); got != "mirror.example proxy.example" {
		t.Fatalf("hosts are %q", got)
	}
	bad := checkHosts(map[string][]byte{
		"good": []byte("archive.example"), "bad": []byte("one\ntwo http://MIRROR.example/debian"),
	}, hosts)
	if len(bad) != 1 || !strings.HasPrefix(bad[0], "bad:2 ") {
		t.Errorf("violations: %q", bad)
	}
}

func TestAgentRuleCanFail(t *testing.T) {
	deps := []string{"os", module + "internal/agent", module + "internal/server/store", module + "internal/serverless"}
	if bad := foreignToAgent(deps); len(bad) != 1 {
		t.Errorf("violations: %q", bad)
	}
}
