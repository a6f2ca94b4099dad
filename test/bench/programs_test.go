package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	peer "github.com/knqyf263/go-deb-version"

	"github.com/fettlehq/fettle/internal/vercmp"
)

// sizes builds the agent for every platform.
func sizes(t *testing.T, b *table, _ publication) {
	cmd := exec.Command("make", "-C", "../..", "cross")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make cross: %v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(binDir(t), "cross", "fettle-agent-*"))
	if err != nil || len(files) != 6 {
		t.Fatalf("%d programs, %v", len(files), err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		b.judge("size of "+filepath.Base(f), megabytes(info.Size()), "", "", "< 18 MB", info.Size() < 18e6)
	}
}

// coldStart: `version` is start, command line and end. `run` without an
// identity ends as soon as it has reached its work, so it bounds the way there.
func coldStart(t *testing.T, b *table, _ publication) {
	agent := program(t, "fettle-agent")
	all := []contender{
		{name: "/bin/true: the floor of this method", argv: []string{"/bin/true"}},
		{name: "`fettle-agent version`", argv: []string{agent, "version"}},
		{name: "`fettle-agent run` until it finds no identity", argv: []string{agent, "run", "--state", t.TempDir()}, code: 3},
	}
	runs := race(t, 41, all...)
	b.compare(all, runs)
	for i := 1; i < len(all); i++ {
		w := middle(runs[i]).Wall
		b.judge("cold start: "+all[i].name, ms(w), "", "", "< 10 ms", w < 10*time.Millisecond)
	}
}

func listPackages(t *testing.T, b *table, _ publication) {
	agent := program(t, "fettle-agent")
	all := []contender{
		{name: "`dpkg-query -W`", argv: []string{"dpkg-query", "-W"}},
		{name: "`fettle-agent inventory --packages`", argv: []string{agent, "inventory", "--packages"}},
		{name: "`fettle-agent inventory` (all sections)", argv: []string{agent, "inventory"}},
	}
	runs := race(t, 41, all...)
	b.compare(all, runs)
	r := ratio(runs[1], runs[0], wall)
	b.judge("inventory, wall", ms(middle(runs[1]).Wall), ms(middle(runs[0]).Wall), fmt.Sprintf("%.2f", r), "not slower than dpkg-query -W", r <= 1)
	r = ratio(runs[1], runs[0], cpu)
	b.judge("inventory, CPU", ms(middle(runs[1]).CPU), ms(middle(runs[0]).CPU), fmt.Sprintf("%.2f", r), "not slower than dpkg-query -W", r <= 1)
}

// scan is inventory, match and what is missing, with the shard as an agent has
// it: a plain file.
func scan(t *testing.T, b *table, p publication) {
	agent := program(t, "fettle-agent")
	// Without current indexes of its own apt would have less to do.
	if out, err := exec.Command("apt-get", "-q", "update").CombinedOutput(); err != nil {
		t.Fatalf("apt-get update: %v\n%s", err, out)
	}
	all := []contender{
		{name: "`apt list --upgradable`", argv: []string{"apt", "list", "--upgradable"}},
		{name: "`fettle-agent scan`, this machine's catalog", argv: []string{agent, "scan", "--json", "--catalog", p.shard}},
		{name: "`fettle-agent scan`, with 40,000 made-up CVEs", argv: []string{agent, "scan", "--json", "--catalog", p.rich}},
		{name: "`fettle-agent scan`, unpacking the shard first", argv: []string{agent, "scan", "--json", "--catalog", p.packed}},
	}
	runs := race(t, 15, all...)
	b.compare(all, runs)
	for i := 1; i <= 2; i++ {
		m, r := middle(runs[i]), ratio(runs[i], runs[0], cpu)
		b.judge("whole scan, CPU: "+all[i].name, ms(m.CPU), ms(middle(runs[0]).CPU), fmt.Sprintf("1/%.0f", 1/r), "at most 1/20", r <= 1.0/20)
		b.judge("whole scan, peak memory: "+all[i].name, mib(m.Peak), mib(middle(runs[0]).Peak), "", "< 30 MiB", m.Peak < 30<<20)
	}
}

// versions compares real versions, in turns of the same pairs.
func versions(t *testing.T, b *table, p publication) {
	pairs := versionPairs(t, p)
	sum := 0 // so that no call can be left out
	ours := func() {
		for _, v := range pairs {
			sum += vercmp.Dpkg(v[0], v[1])
		}
	}
	theirs := func() {
		for _, v := range pairs {
			x, err := peer.NewVersion(v[0])
			if err != nil {
				t.Fatal(err)
			}
			y, err := peer.NewVersion(v[1])
			if err != nil {
				t.Fatal(err)
			}
			sum -= x.Compare(y)
		}
	}
	var a, z []time.Duration
	var ratios []float64
	for range 21 {
		begin := time.Now()
		for range 10 { // short enough to be missed by others' work otherwise
			ours()
		}
		o := time.Since(begin) / 10
		begin = time.Now()
		theirs()
		p := time.Since(begin)
		a, z, ratios = append(a, o/time.Duration(len(pairs))), append(z, p/time.Duration(len(pairs))), append(ratios, float64(p)/float64(o))
	}
	t.Logf("%d compared, checksum %d", len(pairs), sum)
	r := median(ratios)
	b.judge("vercmp.Dpkg, one comparison", median(a).String(), median(z).String()+" (go-deb-version)", fmt.Sprintf("%.0f times faster", r), "at least 20 times", r >= 20)
}

// versionPairs are neighbours among the catalog's versions and of this machine,
// and as many drawn apart.
func versionPairs(t *testing.T, p publication) [][2]string {
	t.Helper()
	var all []string
	for _, x := range p.contents.Patches {
		all = append(all, x.Version)
	}
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(a, b) })
	all = slices.Compact(all)
	if len(all) < 1000 {
		t.Fatalf("only %d versions in the catalog", len(all))
	}
	var pairs [][2]string
	for i := 0; len(pairs) < 4096; i++ {
		k := i * 7919 % (len(all) - 1)
		pairs = append(pairs, [2]string{all[k], all[k+1]}, [2]string{all[k], all[k*31%len(all)]})
	}
	return pairs
}
