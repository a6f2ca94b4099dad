package api

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/wire"
)

// patchAt is the path of a patch.
func patchAt(id patch.ID, more string) string {
	return mainT + "/patches/" + url.PathEscape(string(id)) + more
}

// TestHolders lists who has a patch, page by page, as a rollback would see it.
func TestHolders(t *testing.T) {
	w := newAppWorld(t)
	w.machine("main", "e5", map[string]string{"billing": "2.0", "addon": "1.0"})
	holder := func(id estate.EndpointID, by ...patch.ID) Holder {
		return Holder{HostRef: HostRef{ID: id, Hostname: "host-" + string(id)}, Online: true, Certain: true, RequiredBy: by}
	}
	want := []Holder{holder("e1"), holder("e4"), holder("e5", addon)}
	for _, limit := range []string{"", "?limit=1", "?limit=2"} {
		var got []Holder
		for after := ""; ; {
			var page Page[Holder]
			path := patchAt(billing2, "/holders"+limit)
			if after != "" {
				path += "&after=" + url.QueryEscape(after)
			}
			w.call("GET", path, nil, 200, &page)
			got = append(got, page.Items...)
			if after = page.Next; after == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", limit, diff)
		}
	}
	w.refused("GET", patchAt("nobody", "/holders"), nil, "not_found")
}

// TestHolderUnsure names a machine of which the inventory can't tell, and none
// to which the patch does not even apply.
func TestHolderUnsure(t *testing.T) {
	p := debPatch("reader", "2.0", patch.Update, patch.Low, "aaaaaaaaaaaaaaaa")
	p.Installed = &detect.Rule{File: &detect.File{Path: "/opt/reader/plugin"}}
	w := newWorld(t, p)
	w.machine("main", "e1", map[string]string{"reader": "2.0"})
	w.machine("main", "e2", old())
	var page Page[Holder]
	w.call("GET", patchAt(p.ID, "/holders"), nil, 200, &page)
	if len(page.Items) != 1 || page.Items[0].ID != "e1" || page.Items[0].Certain {
		t.Errorf("%+v", page.Items)
	}
}

// TestWayBack reads on a patch's page whether it can be taken back.
func TestWayBack(t *testing.T) {
	w := newAppWorld(t)
	for id, want := range map[patch.ID]WayBack{
		billing2: {Possible: true, Restores: &PatchName{billing1, "billing", "1.0"}},
		addon:    {Possible: true},
		oneWay:   {Reason: string(oneWay) + " can't be rolled back: its signed manifest says no way to uninstall it", Hint: "restore the machine"},
		orphan:   {Reason: string(orphan) + " can't be rolled back: the catalog has no acme:orphan:1.0:amd64:exe any more, which came before it", Hint: "the publisher keeps"},
	} {
		var d PatchDetail
		w.call("GET", patchAt(id, ""), nil, 200, &d)
		for _, text := range []struct {
			got  *string
			want string
		}{{&d.Rollback.Hint, want.Hint}, {&d.Rollback.Reason, want.Reason}} {
			if text.want != "" && strings.HasPrefix(*text.got, text.want) {
				*text.got = text.want
			}
		}
		if diff := cmp.Diff(want, d.Rollback); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
}

// TestStandingOf agrees with what a deployment says of each finding.
func TestStandingOf(t *testing.T) {
	for _, tc := range []struct {
		finding catalog.Finding
		want    Standing
		idle    string
	}{
		{catalog.Finding{State: catalog.Missing}, Installable, ""},
		{catalog.Finding{State: catalog.Missing, Bulletin: true}, BulletinOnly, skipBulletin},
		{catalog.Finding{State: catalog.Held}, HeldBack, skipHeld},
		{catalog.Finding{State: catalog.Held, Bulletin: true}, BulletinOnly, skipBulletin},
		{catalog.Finding{State: catalog.Broken}, HalfInstalled, skipBroken},
		{catalog.Finding{State: catalog.UserOnly, Bulletin: true}, OfOneUser, skipUser},
		{catalog.Finding{State: catalog.Unsure}, NotCertain, skipUnclear},
		{catalog.Finding{State: catalog.Pinned}, PinnedAway, ""},
	} {
		if got := standingOf(tc.finding); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.finding, got, tc.want)
		}
		if got := idle(NewDeployment{}, tc.finding); got != tc.idle {
			t.Errorf("%+v: a deployment says %q", tc.finding, got)
		}
	}
}

// TestListsByStanding narrows findings, machines and patches to what people
// have to see to themselves.
func TestListsByStanding(t *testing.T) {
	w := newWorld(t, bulletin(debPatch("nginx", "1.22.1-9+deb12u9", patch.Security, patch.Important, "bbbbbbbbbbbbbbbb")))
	all := old()
	all["nginx"] = "1.22.1-9"
	w.machine("main", "m1", all, "bash")
	w.machine("main", "m2", map[string]string{"nginx": "1.22.1-9", "bash": "5.2.15-2+b3"})
	w.machine("main", "m3", old())
	for path, want := range map[string]string{
		"standing=bulletin":                               "m1 nginx,m2 nginx",
		"standing=held":                                   "m1 bash",
		"standing=installable":                            "m1 curl,m1 openssl,m3 bash,m3 curl,m3 openssl",
		"standing=user_only":                              "",
		"patch=" + url.QueryEscape(string(bashFix)):       "m1 bash,m3 bash",
		"limit=1&patch=" + url.QueryEscape(string(nginx)): "m1 nginx,m2 nginx",
		"host=m3&patch=" + url.QueryEscape(string(nginx)): "",
		"patch=nobody":                                    "",
	} {
		var got []string
		for after := ""; ; {
			var page Page[Finding]
			w.call("GET", mainT+"/missing?"+path+"&after="+url.QueryEscape(after), nil, 200, &page)
			for _, f := range page.Items {
				got = append(got, string(f.Endpoint)+" "+f.Package)
				if q, _ := url.ParseQuery(path); q.Get("standing") != "" && q.Get("standing") != string(f.Standing) {
					t.Errorf("%s: %s stands as %s", path, f.Package, f.Standing)
				}
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	for with, want := range map[string]int{"bulletins": 2, "user_only": 0, "broken": 0, "reboot_due": 0} {
		var hosts Page[Host]
		w.call("GET", mainT+"/hosts?limit=1000&with="+with, nil, 200, &hosts)
		if len(hosts.Items) != want {
			t.Errorf("%s: %d machines", with, len(hosts.Items))
		}
	}
	var one Page[Host] // a page without a machine that fits is passed over
	w.call("GET", mainT+"/hosts?limit=1&with=bulletins&q=host-m", nil, 200, &one)
	if len(one.Items) != 1 || one.Items[0].ID != "m1" {
		t.Errorf("%+v", one.Items)
	}
	var rows Page[PatchRow]
	w.call("GET", mainT+"/patches?bulletin=true", nil, 200, &rows)
	if len(rows.Items) != 1 || rows.Items[0].ID != nginx {
		t.Errorf("%+v", rows.Items)
	}
}

// TestTasksThatLeftSomethingOut are found among the others.
func TestTasksThatLeftSomethingOut(t *testing.T) {
	w := newAppWorld(t)
	var d Deployment
	w.call("POST", mainT+"/deployments", back(map[string]any{"endpoints": []string{"e1", "e4"}}), 201, &d)
	must(t, w.loop.Once(t.Context()))
	orders, err := w.loop.Orders(t.Context(), "main", "e4")
	must(t, err)
	must(t, w.loop.Hear(t.Context(), "main", "e4", []wire.Event{{
		Task: orders[0].Task, Attempt: 1, At: time.Now(), State: deploy.Planned,
		Plan: &deploy.Plan{Refused: []deploy.Refusal{{Patch: billing2, Reason: "the machine's policy forbids it"}}},
	}}))
	of := mainT + "/deployments/" + string(d.ID) + "/tasks"
	for path, want := range map[string]int{
		of: 2, of + "?left_out=true": 1, of + "?limit=1&left_out=true": 1,
		of + "?left_out=true&patch=" + url.QueryEscape(string(billing2)): 1, of + "?left_out=true&patch=nobody": 0,
		mainT + "/hosts/e4/tasks": 1, mainT + "/hosts/e4/tasks?left_out=true": 1, mainT + "/hosts/e1/tasks?left_out=true": 0, mainT + "/hosts/e2/tasks": 0,
	} {
		var tasks Page[Task]
		w.call("GET", path, nil, 200, &tasks)
		if len(tasks.Items) != want {
			t.Errorf("%s: %d tasks", path, len(tasks.Items))
		}
	}
	w.refused("GET", mainT+"/hosts/nobody/tasks", nil, fault.NotFound)
	for id, want := range map[patch.ID]int{"": 1, billing2: 1, billing1: 0} {
		var list Page[Deployment]
		w.call("GET", mainT+"/deployments?patch="+url.QueryEscape(string(id)), nil, 200, &list)
		if len(list.Items) != want {
			t.Errorf("%q: %d deployments", id, len(list.Items))
		}
	}
}

// TestTasksOfAMachine are listed from the newest on, page by page.
func TestTasksOfAMachine(t *testing.T) {
	w := newAppWorld(t)
	var want []deploy.ID
	for range 3 {
		var d Deployment
		w.call("POST", mainT+"/deployments", back(map[string]any{"endpoints": []string{"e1"}, "dry_run": true}), 201, &d)
		want = append([]deploy.ID{d.ID}, want...)
	}
	var got []deploy.ID
	for after := ""; ; {
		var page Page[Task]
		w.call("GET", mainT+"/hosts/e1/tasks?limit=2&after="+url.QueryEscape(after), nil, 200, &page)
		for _, one := range page.Items {
			got = append(got, one.Deployment)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
