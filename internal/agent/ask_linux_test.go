package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/wire"
)

// ruledPatch applies where one file lies and is installed where another does.
func ruledPatch(s *server, applies, installed string) patch.Patch {
	p := s.thePatch()
	p.ID, p.Product, p.Items = patch.ID(platform+":app:"+installed), "app", nil
	p.Applicable, p.Installed = &detect.Rule{File: &detect.File{Path: applies}}, &detect.Rule{File: &detect.File{Path: installed}}
	return p
}

// answers are what the server has of the machine's last inventory; the caller
// holds the lock.
func (s *server) answers() (inventory.Answers, bool) {
	var out inventory.Answers
	if len(s.checkins) == 0 {
		return out, false
	}
	for _, c := range slices.Backward(s.checkins) {
		if c.Root != last(s.checkins).Root || len(c.Sections) == 0 {
			continue
		}
		for _, sec := range c.Sections {
			if body := s.bodies[sec.Hash]; sec.Name == inventory.SectionAnswers && body != nil {
				a, err := inventory.ParseAnswers(body)
				check(s.t, err)
				return a, true
			}
		}
		return out, false
	}
	return out, false
}

// saysOf waits until the server has the machine's word on exactly these files.
func (s *server) saysOf(what string, want map[string]detect.Value) {
	s.t.Helper()
	s.until(what, func() bool {
		got, _ := s.answers()
		for _, a := range got.Given {
			if a.Test.File == nil || a.Value != want[a.Test.File.Path] {
				return false
			}
		}
		return len(got.Given) == len(want)
	})
}

// TestAnswers: a machine answers its catalog as soon as it has one, again when
// a newer one asks something else, and not at all when its policy says so.
func TestAnswers(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	write(t, filepath.Join(root, "opt/app/app"), "1")
	s.publish(1, ruledPatch(s, "/opt/app/app", "/opt/app/new"))
	d := s.enrolled(root)
	stop := s.agent(d, root)
	s.saysOf("answers to catalog 1", map[string]detect.Value{"/opt/app/app": detect.True, "/opt/app/new": detect.False})
	s.publish(2, ruledPatch(s, "/opt/app/app", "/opt/app/newer"))
	s.wake <- wire.Wake{Kind: "check"}
	s.saysOf("answers to catalog 2", map[string]detect.Value{"/opt/app/app": detect.True, "/opt/app/newer": detect.False})
	var sum summary
	check(t, readJSON(d.summary(), &sum))
	if sum.askedAnew(d) || !strings.HasPrefix(sum.Asked, platform+"=") {
		t.Errorf("asked %q", sum.Asked)
	}
	stop()

	// A scan that can't read the catalog tells it and is tried again; so is one
	// of an agent that knew no answers yet.
	data, err := os.ReadFile(d.Shard(platform))
	check(t, err)
	check(t, os.WriteFile(d.Shard(platform), data[:len(data)-1], 0o600))
	sum2, err := takeStock(t.Context(), testConfig(string(d), root), sum.Scanned)
	if err != nil || len(sum2.Problems) == 0 || !sum2.askedAnew(d) {
		t.Errorf("with a damaged catalog: %+v, %v", sum2, err)
	}
	check(t, os.WriteFile(d.Shard(platform), data, 0o600))
	if !(&summary{Platforms: sum.Platforms}).askedAnew(d) {
		t.Error("an agent that was updated does not answer until something happens")
	}
	// A forged catalog, well-formed but not signed, asks nothing.
	s2 := newServer(t)
	s2.publish(2, ruledPatch(s2, "/etc/shadow", "/root/secret"))
	check(t, os.WriteFile(d.Shard(platform), s2.shard, 0o600))
	sum3, err := takeStock(t.Context(), testConfig(string(d), root), sum.Scanned)
	if err != nil || !strings.Contains(strings.Join(sum3.Problems, " "), "SHA-256") || len(keptAnswers(t, d).Given) > 0 {
		t.Errorf("a forged catalog: %+v, %v", sum3, err)
	}
	check(t, os.WriteFile(d.Shard(platform), data, 0o600))

	for name, tc := range map[string]struct{ policy, problem string }{
		"off":     {`{"allow_answers":false}`, ""},
		"damaged": {`{"allow_answers":`, "can't be used"},
	} {
		write(t, d.path("policy.json"), tc.policy)
		sum, err := takeStock(t.Context(), testConfig(string(d), root), sum.Scanned)
		if err != nil || sum.askedAnew(d) || !strings.Contains(strings.Join(sum.Problems, " "), tc.problem) {
			t.Errorf("%s: %+v, %v", name, sum, err)
		}
		if a := keptAnswers(t, d); !a.Withheld || len(a.Given) > 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
	write(t, d.path("policy.json"), `{"allow_answers":true}`)
	if _, err := takeStock(t.Context(), testConfig(string(d), root), sum.Scanned); err != nil || len(keptAnswers(t, d).Given) != 2 {
		t.Errorf("allowed again: %+v, %v", keptAnswers(t, d), err)
	}
}

// TestTooManyAnswers: what does not fit is told, on the machine and to the
// server, and makes no scan due.
func TestTooManyAnswers(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	p := ruledPatch(s, "/opt/app", "/opt/new")
	many := detect.Rule{}
	for i := range inventory.MaxAnswers + 3 {
		many.Any = append(many.Any, detect.Rule{File: &detect.File{Path: fmt.Sprintf("/opt/%d", i)}})
	}
	p.Applicable = &many
	s.publish(1, p)
	d := s.enrolled(root)
	stop := s.agent(d, root)
	s.until("the problem is told", func() bool { return strings.Contains(last(s.checkins).Problem, "3 answers are left out") })
	stop()
	var sum summary
	check(t, readJSON(d.summary(), &sum))
	if a := keptAnswers(t, d); a.LeftOut != 3 || len(a.Given) != inventory.MaxAnswers || sum.askedAnew(d) {
		t.Errorf("%d given, %d left out, asked %q", len(a.Given), a.LeftOut, sum.Asked)
	}
}

// keptAnswers are those that the next upload would send.
func keptAnswers(t *testing.T, d Dir) inventory.Answers {
	t.Helper()
	var all wire.Sections
	check(t, readJSON(d.inventory(), &all))
	for _, sec := range all.Sections {
		if sec.Name == inventory.SectionAnswers {
			a, err := inventory.ParseAnswers(sec.Body)
			check(t, err)
			return a
		}
	}
	return inventory.Answers{}
}

// TestNothingAsked: a catalog without rules of its own makes no scan due.
func TestNothingAsked(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	s.publish(1, s.thePatch())
	d := s.enrolled(root)
	s.agent(d, root)
	s.until("the catalog is verified", func() bool { return last(s.checkins).Catalog == 1 })
	s.until("the scan with it", func() bool {
		var sum summary
		return readJSON(d.summary(), &sum) == nil && sum.Asked == nothingAsked && !sum.askedAnew(d)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, given := s.answers(); given {
		t.Error("answers were given that nobody asked for")
	}
}
