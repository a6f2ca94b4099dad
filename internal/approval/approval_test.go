package approval_test

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

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const openssl patch.ID = "debian-12:amd64:openssl:3.0.17-1~deb12u3"

func TestValidate(t *testing.T) {
	good := approval.Approval{Patch: openssl, Decision: approval.Approve, At: noon}
	for name, tc := range map[string]struct {
		change func(*approval.Approval)
		says   string // "" when it is good
	}{
		"approve":                       {func(*approval.Approval) {}, ""},
		"decline with reason":           {func(a *approval.Approval) { a.Decision, a.Reason = approval.Decline, "breaks billing" }, ""},
		"expires later":                 {func(a *approval.Approval) { a.Expires = noon.Add(time.Second) }, ""},
		"no patch":                      {func(a *approval.Approval) { a.Patch = "" }, "names no patch"},
		"no decision":                   {func(a *approval.Approval) { a.Decision = "" }, "not a decision"},
		"other decision":                {func(a *approval.Approval) { a.Decision = "maybe" }, `"maybe" is not a decision`},
		"decline without reason":        {func(a *approval.Approval) { a.Decision = approval.Decline }, "needs a reason"},
		"expires as it is made":         {func(a *approval.Approval) { a.Expires = noon }, "expire before it is made"},
		"expires before it was made at": {func(a *approval.Approval) { a.Expires = noon.Add(-time.Hour) }, "expire before it is made"},
	} {
		t.Run(name, func(t *testing.T) {
			a := good
			tc.change(&a)
			err := a.Validate()
			if tc.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Public(err), tc.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestActive(t *testing.T) {
	for name, tc := range map[string]struct {
		expires, withdrawn time.Time
		want               bool
	}{
		"for ever":            {want: true},
		"expires later":       {expires: noon.Add(time.Nanosecond), want: true},
		"expires now":         {expires: noon},
		"has expired":         {expires: noon.Add(-time.Hour)},
		"withdrawn now":       {withdrawn: noon},
		"was withdrawn":       {withdrawn: noon.Add(-time.Hour), expires: noon.Add(time.Hour)},
		"withdrawn from then": {withdrawn: noon.Add(time.Hour), want: true},
	} {
		a := approval.Approval{Expires: tc.expires, Withdrawn: tc.withdrawn}
		if got := a.Active(noon); got != tc.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestDecide(t *testing.T) {
	yes := approval.Approval{ID: "yes", Patch: openssl, Decision: approval.Approve, At: noon.Add(-2 * time.Hour)}
	newer := yes
	newer.ID, newer.At = "newer", noon.Add(-time.Hour)
	no := approval.Approval{ID: "no", Patch: openssl, Decision: approval.Decline, Reason: "r", At: noon.Add(-3 * time.Hour)}
	in := func(g estate.GroupID, a approval.Approval) approval.Approval { a.Group = g; return a }
	gone := func(a approval.Approval) approval.Approval { a.Withdrawn = noon.Add(-time.Minute); return a }
	past := func(a approval.Approval) approval.Approval { a.Expires = noon.Add(-time.Minute); return a }
	on := func(e estate.EndpointID, a approval.Approval) approval.Approval { a.Endpoint = e; return a }
	other := yes
	other.Patch = "debian-12:amd64:other:1"
	for name, tc := range map[string]struct {
		all    []approval.Approval
		groups []estate.GroupID
		want   approval.State
		by     string
	}{
		"nothing":                           {want: approval.Awaiting},
		"approved for all":                  {all: []approval.Approval{yes}, want: approval.Approved, by: "yes"},
		"the newest approval is named":      {all: []approval.Approval{newer, yes}, want: approval.Approved, by: "newer"},
		"an older decline beats a newer":    {all: []approval.Approval{newer, no}, want: approval.Declined, by: "no"},
		"a decline for the group beats all": {all: []approval.Approval{yes, in("test", no)}, groups: []estate.GroupID{"web", "test"}, want: approval.Declined, by: "no"},
		"a decline for all beats the group": {all: []approval.Approval{in("test", yes), no}, groups: []estate.GroupID{"test"}, want: approval.Declined, by: "no"},
		"a decline for another group":       {all: []approval.Approval{yes, in("db", no)}, groups: []estate.GroupID{"web"}, want: approval.Approved, by: "yes"},
		"approved for another group":        {all: []approval.Approval{in("db", yes)}, groups: []estate.GroupID{"web"}, want: approval.Awaiting},
		"no group at all":                   {all: []approval.Approval{in("db", yes)}, want: approval.Awaiting},
		"a decline for the machine":         {all: []approval.Approval{yes, on("e1", no)}, want: approval.Declined, by: "no"},
		"a decline for another machine":     {all: []approval.Approval{yes, on("e2", no)}, want: approval.Approved, by: "yes"},
		"another patch":                     {all: []approval.Approval{other}, want: approval.Awaiting},
		"withdrawn decline":                 {all: []approval.Approval{gone(no), yes}, want: approval.Approved, by: "yes"},
		"expired decline":                   {all: []approval.Approval{past(no), yes}, want: approval.Approved, by: "yes"},
		"expired approval":                  {all: []approval.Approval{past(yes)}, want: approval.Awaiting},
		"withdrawn approval":                {all: []approval.Approval{gone(yes)}, want: approval.Awaiting},
	} {
		t.Run(name, func(t *testing.T) {
			got, by := approval.Decide(tc.all, openssl, "e1", tc.groups, noon)
			id := ""
			if by != nil {
				id = by.ID
			}
			if got != tc.want || id != tc.by {
				t.Errorf("got %s by %q, want %s by %q", got, id, tc.want, tc.by)
			}
		})
	}
}

// decisions draws decisions about two patches, some ended, some for groups.
func decisions() *rapid.Generator[[]approval.Approval] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) approval.Approval {
		hours := rapid.IntRange(-48, 48)
		a := approval.Approval{
			ID:       rapid.StringMatching(`[a-z]{6}`).Draw(t, "id"),
			Patch:    rapid.SampledFrom([]patch.ID{openssl, "other"}).Draw(t, "patch"),
			Group:    rapid.SampledFrom([]estate.GroupID{"", "test", "web"}).Draw(t, "group"),
			Decision: rapid.SampledFrom([]approval.Decision{approval.Approve, approval.Decline}).Draw(t, "decision"),
			At:       noon.Add(time.Duration(hours.Draw(t, "at")) * time.Hour),
		}
		if a.Group == "" {
			a.Endpoint = rapid.SampledFrom([]estate.EndpointID{"", "", "e1", "e2"}).Draw(t, "endpoint")
		}
		if rapid.Bool().Draw(t, "expires?") {
			a.Expires = noon.Add(time.Duration(hours.Draw(t, "expires")) * time.Hour)
		}
		if rapid.Bool().Draw(t, "withdrawn?") {
			a.Withdrawn = noon.Add(time.Duration(hours.Draw(t, "withdrawn")) * time.Hour)
		}
		return a
	}), 0, 12)
}

// The laws of the fold, on whatever was decided.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := decisions().Draw(t, "decisions")
		groups := rapid.SampledFrom([][]estate.GroupID{nil, {"test"}, {"web"}, {"test", "web"}}).Draw(t, "groups")
		state, by := approval.Decide(all, openssl, "e1", groups, noon)

		counts := func(d approval.Decision) bool {
			return slices.ContainsFunc(all, func(a approval.Approval) bool {
				return a.Patch == openssl && a.Decision == d && a.Active(noon) && (a.Endpoint == "e1" || a.Endpoint == "" && (a.Group == "" || slices.Contains(groups, a.Group)))
			})
		}
		want := approval.Awaiting
		switch {
		case counts(approval.Decline):
			want = approval.Declined
		case counts(approval.Approve):
			want = approval.Approved
		}
		if state != want {
			t.Fatalf("got %s, want %s", state, want)
		}
		if (by == nil) != (state == approval.Awaiting) || by != nil && !by.Active(noon) {
			t.Fatalf("%s is settled by %+v", state, by)
		}
		// The order of decisions does not matter.
		again, _ := approval.Decide(rapid.Permutation(all).Draw(t, "shuffled"), openssl, "e1", groups, noon)
		if again != state {
			t.Fatalf("shuffled: %s, before %s", again, state)
		}
		// One decline for the whole tenant declines it for everyone, whatever
		// else was decided.
		no := approval.Approval{Patch: openssl, Decision: approval.Decline, Reason: "no", At: noon}
		if s, _ := approval.Decide(append(slices.Clone(all), no), openssl, "e1", groups, noon); s != approval.Declined {
			t.Fatalf("with a decline for all: %s", s)
		}
		// Another approval never takes an approval or a decline away.
		yes := approval.Approval{Patch: openssl, Decision: approval.Approve, At: noon}
		if s, _ := approval.Decide(append(slices.Clone(all), yes), openssl, "e1", groups, noon); s == approval.Awaiting || state == approval.Declined && s != approval.Declined {
			t.Fatalf("with another approval: %s, before %s", s, state)
		}
	})
}

// The form in files, on the wire and in the API stays as it is.
func TestGolden(t *testing.T) {
	full := approval.Approval{
		ID: "ap-1", Tenant: "main", Group: "test", Patch: openssl, Decision: approval.Decline, Reason: "breaks billing", By: "ada", At: noon,
		Expires: noon.Add(24 * time.Hour), Review: noon.Add(12 * time.Hour), Withdrawn: noon.Add(time.Hour),
	}
	least := approval.Approval{ID: "ap-2", Tenant: "main", Patch: openssl, Decision: approval.Approve, By: "ada", At: noon}
	got, err := json.MarshalIndent([]approval.Approval{full, least}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "approval.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("the form has changed (-golden +now):\n%s", diff)
	}
	var back []approval.Approval
	if err := json.Unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]approval.Approval{full, least}, back); diff != "" {
		t.Error(diff)
	}
}
