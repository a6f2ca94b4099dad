package estate_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestValidID(t *testing.T) {
	for _, good := range []string{"a", "0", "main", "e0123456789abcdef", "a-b-", strings.Repeat("x", 63)} {
		if err := estate.ValidID("site", good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "-a", "A", "a b", "a/b", "..", "a.b", "ä", "a\n", "a\x00", "*", strings.Repeat("x", 64), "a_b", "%2e",
	} {
		if err := estate.ValidID("site", bad); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q: got %v, want it refused with a hint", bad, err)
		}
	}
}

func TestCovers(t *testing.T) {
	all, acme, berlin := estate.Everything(), estate.InTenant("acme"), estate.Scope{Tenant: "acme", Site: "berlin"}
	for _, tc := range []struct {
		wide, narrow estate.Scope
		want         bool
	}{
		{all, all, true},
		{all, acme, true},
		{all, berlin, true},
		{acme, all, false},
		{acme, acme, true},
		{acme, berlin, true},
		{acme, estate.InTenant("rival"), false},
		{acme, estate.Scope{Tenant: "rival", Site: "berlin"}, false},
		{berlin, acme, false},
		{berlin, all, false},
		{berlin, berlin, true},
		{berlin, estate.Scope{Tenant: "acme", Site: "paris"}, false},
		{berlin, estate.Scope{Tenant: "rival", Site: "berlin"}, false},
	} {
		if got := tc.wide.Covers(tc.narrow); got != tc.want {
			t.Errorf("%s covers %s: %v", tc.wide, tc.narrow, got)
		}
	}
}

func TestParseScope(t *testing.T) {
	for text, want := range map[string]estate.Scope{
		"*": {}, "acme": {Tenant: "acme"}, "acme/berlin": {Tenant: "acme", Site: "berlin"},
	} {
		got, err := estate.ParseScope(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "/", "acme/", "/berlin", "acme/berlin/floor", "*/berlin", "acme/*", "Acme", " acme", "acme ", "**"} {
		if got, err := estate.ParseScope(bad); !fault.Is(err, fault.Invalid) || got != (estate.Scope{}) {
			t.Errorf("%q: got %+v, %v", bad, got, err)
		}
	}
}

func scopes() *rapid.Generator[estate.Scope] {
	return rapid.Custom(func(t *rapid.T) estate.Scope {
		id := rapid.StringMatching(`[a-c0-1][a-c-]{0,3}`)
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			return estate.Everything()
		case 1:
			return estate.InTenant(estate.TenantID(id.Draw(t, "tenant")))
		}
		return estate.Scope{Tenant: estate.TenantID(id.Draw(t, "tenant")), Site: estate.SiteID(id.Draw(t, "site"))}
	})
}

// A scope is read back as it was written, and covering is an order.
func TestScopeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := scopes().Draw(t, "a"), scopes().Draw(t, "b"), scopes().Draw(t, "c")
		back, err := estate.ParseScope(a.String())
		if err != nil || back != a {
			t.Fatalf("%s came back as %+v, %v", a, back, err)
		}
		if !a.Covers(a) || !estate.Everything().Covers(a) {
			t.Fatalf("%s is not covered", a)
		}
		if a.Covers(b) && b.Covers(a) && a != b {
			t.Fatalf("%s and %s cover each other", a, b)
		}
		if a.Covers(b) && b.Covers(c) && !a.Covers(c) {
			t.Fatalf("%s covers %s covers %s", a, b, c)
		}
	})
}

// What each role may do stands here a second time, on purpose: widening a
// role has to be said twice.
func TestGrants(t *testing.T) {
	all := []estate.Permission{
		estate.Read, estate.ReadAudit, estate.ManageHosts, estate.ApprovePatch, estate.RunDeploy,
		estate.ManagePeople, estate.ManageServer, estate.ManageContent,
	}
	may := map[estate.Role]string{
		estate.Admin:    "read read_audit manage_hosts approve_patch run_deploy manage_people manage_server manage_content",
		estate.Operator: "read manage_hosts run_deploy",
		estate.Approver: "read approve_patch",
		estate.Auditor:  "read read_audit",
		estate.Viewer:   "read",
		"root":          "",
		"":              "",
	}
	for role, words := range may {
		for _, p := range all {
			want := slices.Contains(strings.Fields(words), string(p))
			who := estate.Actor{Grants: []estate.Grant{{Role: role, Scope: estate.InTenant("acme")}}}
			if got := slices.Contains(estate.Grants(role), p); got != want {
				t.Errorf("role %q, %s: %v", role, p, got)
			}
			if got := who.Can(p, estate.Scope{Tenant: "acme", Site: "berlin"}); got != want {
				t.Errorf("role %q in its tenant, %s: %v", role, p, got)
			}
			if who.Can(p, estate.InTenant("rival")) || who.Can(p, estate.Everything()) {
				t.Errorf("role %q reaches out of its tenant with %s", role, p)
			}
		}
	}
	if (estate.Actor{Kind: "user", Name: "nobody"}).Can(estate.Read, estate.InTenant("acme")) {
		t.Error("someone without a grant may read")
	}
	if (estate.Actor{}).Can("", estate.Scope{}) {
		t.Error("nobody may do nothing in particular")
	}
}

// The separation that two-person work rests on: nobody but an administrator
// both approves and deploys.
func TestApproverDoesNotDeploy(t *testing.T) {
	for _, r := range []estate.Role{estate.Operator, estate.Approver, estate.Auditor, estate.Viewer} {
		if g := estate.Grants(r); slices.Contains(g, estate.ApprovePatch) && slices.Contains(g, estate.RunDeploy) {
			t.Errorf("role %s does both", r)
		}
	}
}

func TestKeyActive(t *testing.T) {
	for name, tc := range map[string]struct {
		key  estate.Key
		want bool
	}{
		"for ever":      {estate.Key{}, true},
		"expires later": {estate.Key{Expires: noon.Add(time.Second)}, true},
		"expires now":   {estate.Key{Expires: noon}, false},
		"expired":       {estate.Key{Expires: noon.Add(-time.Second)}, false},
		"revoked":       {estate.Key{Revoked: noon, Expires: noon.Add(time.Hour)}, false},
	} {
		if got := tc.key.Active(noon); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// golden are all forms of the package, full and bare.
func golden() []any {
	return []any{
		estate.Tenant{ID: "acme", Name: "Acme", Created: noon},
		estate.Site{Tenant: "acme", ID: "berlin", Name: "Berlin", Zone: "Europe/Berlin"},
		estate.Endpoint{
			Tenant: "acme", Site: "berlin", ID: "e1", Hostname: "web1", Platform: "debian-12-amd64", OS: "Debian", AgentVersion: "1.0",
			Groups: []estate.GroupID{"test"}, Addresses: []string{"10.0.0.7/24"}, State: estate.Active, Enrolled: noon, LastSeen: noon,
			RebootDue: true, RestartsDue: []string{"nginx.service"}, Problem: "disk full",
		},
		estate.Endpoint{Tenant: "acme", Site: "berlin", ID: "e2", State: estate.Revoked, Enrolled: noon},
		estate.Group{Tenant: "acme", ID: "test", Name: "Test", Members: []estate.EndpointID{"e1"}},
		estate.Actor{Kind: "user", ID: "u1", Name: "ada", Grants: []estate.Grant{{Role: estate.Admin}, {Role: estate.Viewer, Scope: estate.Scope{Tenant: "acme", Site: "berlin"}}}},
		estate.User{ID: "u1", Tenant: "acme", Name: "ada", Email: "ada@acme.example", PasswordHash: "SECRET", Disabled: true, Created: noon, LastSignIn: noon},
		estate.Key{ID: "k1", Tenant: "acme", Name: "ci", Hash: "SECRET", By: "ada", Created: noon, Expires: noon, Revoked: noon, LastUsed: noon},
		estate.Token{ID: "t1", Tenant: "acme", Site: "berlin", Note: "n", Groups: []estate.GroupID{"test"}, Uses: 2, Used: 1, By: "ada", Created: noon, Expires: noon, Revoked: noon},
	}
}

// The forms in files, on the wire and in the API stay as they are, and hold no
// hash of a secret.
func TestGolden(t *testing.T) {
	got, err := json.MarshalIndent(golden(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "estate.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("the form has changed (-golden +now):\n%s", diff)
	}
	if strings.Contains(string(got), "SECRET") {
		t.Error("a hash of a secret leaves")
	}
}

func FuzzParseScope(f *testing.F) {
	for _, s := range []string{"*", "acme", "acme/berlin", "/", "acme/", "*/x", "a/b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := estate.ParseScope(text)
		if err == nil && s.String() != text {
			t.Errorf("%q came back as %q", text, s)
		}
		if err != nil && s.Tenant == "" && estate.Everything() != s {
			t.Errorf("%q: %+v beside an error", text, s)
		}
	})
}
