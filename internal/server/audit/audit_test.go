package audit

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the attacker's own connection to the file

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v (%s)", err, fault.CodeOf(err))
	}
}

func ada() estate.Actor { return estate.Actor{Kind: "user", ID: "u1", Name: "ada"} }

// open returns a log over a real store with ten entries in tenant "main" and
// three of the server, and the attacker's hand on its file.
func open(t testing.TB) (*Log, *sql.DB) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fettle.db")
	db := storetest.Migrated(t, file, sqlite.Open)
	t.Cleanup(func() { must(t, db.Close()) })
	must(t, db.In(estate.Everything()).EnsureTenant(t.Context(), estate.Tenant{ID: "main", Name: "main", Created: time.Now()}))
	attacker, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)")
	must(t, err)
	t.Cleanup(func() { must(t, attacker.Close()) })
	l := New(func(s estate.Scope) Store { return db.In(s) }, time.Now)
	for i := range 10 {
		must(t, l.Append(t.Context(), "main", ada(), "approvals.create", fmt.Sprint("patch ", i), "because <b>\xff\u2028"))
	}
	for range 3 {
		must(t, l.Append(t.Context(), "", ada(), "sync.run", "catalog", ""))
	}
	return l, attacker
}

func export(t testing.TB, l *Log) string {
	t.Helper()
	var b bytes.Buffer
	must(t, l.Export(t.Context(), "main", &b))
	return b.String()
}

func TestWhole(t *testing.T) {
	l, _ := open(t)
	n, head, problem, err := l.Verify(t.Context())
	must(t, err)
	if n != 13 || len(head) != 64 || problem != "" {
		t.Errorf("%d entries, head %q, problem %q", n, head, problem)
	}
	text := export(t, l)
	n, last, err := VerifyExport(strings.NewReader(text))
	must(t, err)
	if n != 10 || !strings.Contains(text, last) {
		t.Errorf("the export has %d entries, head %q", n, last)
	}
	seen := 0
	must(t, l.Recent(t.Context(), "main", 4, "", "", 2, func(doc []byte) error {
		seen++
		if !bytes.Contains(doc, []byte(fmt.Sprintf(`"seq":%d,`, 4-seen))) {
			t.Errorf("entry %d before 4 is %s", seen, doc)
		}
		return nil
	}))
	if seen != 2 {
		t.Errorf("%d recent entries", seen)
	}
	if n, _, err := VerifyExport(strings.NewReader("")); n != 0 || err != nil {
		t.Errorf("an empty export: %d %v", n, err)
	}
}

// TestTrustRow10TamperingIsFound changes the table behind the server's back, in
// the ways that someone who can write the database might.
func TestTrustRow10TamperingIsFound(t *testing.T) {
	for _, tc := range []struct {
		name   string
		sql    []string
		names  string // what the problem must say
		export bool   // the export shows it as well
	}{
		{"a changed text", []string{`update audit set doc = replace(doc, 'patch 3', 'patch 9') where tenant = 'main' and seq = 4`}, "entry 4 of tenant main was changed", true},
		{"a changed actor", []string{`update audit set doc = replace(doc, '"ada"', '"eve"') where tenant = 'main' and seq = 7`}, "entry 7 of tenant main was changed", true},
		{"a field that was added", []string{`update audit set doc = '{"x":1,' || substr(doc, 2) where tenant = 'main' and seq = 7`}, "entry 7 of tenant main was changed", true},
		{"a column that differs", []string{`update audit set hash = 'x' where tenant = 'main' and seq = 5`}, "entry 5 of tenant main: its row", false},
		{"a removed row", []string{`delete from audit where tenant = 'main' and seq = 5`}, "entry 5 of tenant main was removed", true},
		{"the first row removed", []string{`delete from audit where tenant = 'main' and seq = 1`}, "entry 1 of tenant main was removed", true},
		{"the last rows removed", []string{`delete from audit where tenant = 'main' and seq > 8`}, "entry 9 of tenant main and all after it were removed", false},
		{"everything removed", []string{`delete from audit where tenant = 'main'`}, "entry 1 of tenant main and all after it were removed", false},
		{"two rows swapped", []string{
			`update audit set seq = 99 where tenant = 'main' and seq = 3`,
			`update audit set seq = 3 where tenant = 'main' and seq = 4`,
			`update audit set seq = 4 where tenant = 'main' and seq = 99`,
		}, "entry 3 of tenant main was removed: entry 4 follows entry 2", true},
		{"two texts swapped", []string{
			`update audit set doc = (select doc from audit where tenant = 'main' and seq = 3) where tenant = 'main' and seq = 6`,
		}, "entry 3 of tenant main stands in the wrong place", true},
		{"another tenant's text", []string{
			`update audit set doc = (select doc from audit where tenant = '' and seq = 2) where tenant = 'main' and seq = 2`,
		}, "entry 2 of tenant main belongs to tenant", true},
		{"no JSON", []string{`update audit set doc = 'gone' where tenant = 'main' and seq = 2`}, "entry 2 of tenant main can't be read", true},
		{"the server's log", []string{`update audit set doc = replace(doc, 'catalog', 'nothing') where tenant = '' and seq = 2`}, "entry 2 of the server's log was changed", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, attacker := open(t)
			for _, q := range tc.sql {
				res, err := attacker.ExecContext(t.Context(), q)
				must(t, err)
				if n, _ := res.RowsAffected(); n == 0 {
					t.Fatalf("the attack %q changed nothing", q)
				}
			}
			_, _, problem, err := l.Verify(t.Context())
			must(t, err)
			if !strings.Contains(problem, tc.names) {
				t.Errorf("the problem is %q, want it to say %q", problem, tc.names)
			}
			_, _, err = VerifyExport(strings.NewReader(export(t, l)))
			if tc.export && (!fault.Is(err, fault.Untrusted) || !strings.Contains(err.Error(), tc.names)) {
				t.Errorf("the export gives %v", err)
			}
		})
	}
}

// TestRewrittenChainHasAnotherHead shows what the chain alone can't prove, and
// what keeping a head elsewhere does.
func TestRewrittenChainHasAnotherHead(t *testing.T) {
	l, attacker := open(t)
	_, before, _, err := l.Verify(t.Context())
	must(t, err)
	_, err = attacker.ExecContext(t.Context(), `delete from audit where tenant = 'main'; delete from audit_heads where tenant = 'main'`)
	must(t, err)
	for i := range 10 {
		must(t, l.Append(t.Context(), "main", ada(), "approvals.create", fmt.Sprint("nicer ", i), ""))
	}
	_, after, problem, err := l.Verify(t.Context())
	must(t, err)
	if problem != "" || before == after {
		t.Errorf("a rewritten chain: problem %q, heads %s and %s", problem, before, after)
	}
}

// TestAppendAtOnce appends from many sides and verifies meanwhile.
func TestAppendAtOnce(t *testing.T) {
	l, _ := open(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if err := l.Append(context.Background(), "main", ada(), "a", "o", strings.Repeat("x", 20<<10)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if _, _, problem, err := l.Verify(t.Context()); err != nil || problem != "" {
			t.Errorf("while others append: %q %v", problem, err)
		}
	}
	wg.Wait()
	if n, _, problem, err := l.Verify(t.Context()); n != 93 || problem != "" || err != nil {
		t.Errorf("%d entries, problem %q, %v", n, problem, err)
	}
}

func FuzzVerifyExport(f *testing.F) {
	l, _ := open(f)
	whole := export(f, l)
	f.Add([]byte(whole))
	f.Add([]byte(strings.Replace(whole, "patch 3", "patch 4", 1)))
	f.Add([]byte("{}\n"))
	f.Add([]byte("null\n[]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, head, err := VerifyExport(bytes.NewReader(b))
		if err == nil && n > 0 && len(head) != 64 {
			t.Errorf("%d entries are whole and the head is %q", n, head)
		}
	})
}

// stuck is a reader who takes nothing until he may.
type stuck struct {
	come chan struct{}
	may  chan struct{}
}

func (s stuck) Write(b []byte) (int, error) {
	select {
	case s.come <- struct{}{}:
	case <-s.may:
	}
	<-s.may
	return len(b), nil
}

// TestSlowReaders: exports that nobody reads hold no connection to the
// database, so that there is always one for others.
func TestSlowReaders(t *testing.T) {
	l, _ := open(t)
	must(t, l.Append(t.Context(), "main", ada(), "approvals.create", "patch", strings.Repeat("long ", 3000))) // more than is written in one go
	s := stuck{make(chan struct{}), make(chan struct{})}
	var all sync.WaitGroup
	const many = 64 // more than any pool has
	for range many {
		all.Go(func() {
			if err := l.Export(t.Context(), "main", s); err != nil {
				t.Error(err)
			}
		})
	}
	late := time.After(5 * time.Minute)
	for i := range many {
		select {
		case <-s.come:
		case <-late:
			t.Fatalf("%d exports of %d are under way, the others wait for a connection", i, many)
		}
	}
	must(t, l.Recent(t.Context(), "main", 0, "", "", 10, func([]byte) error { return nil }))
	close(s.may)
	all.Wait()
}
