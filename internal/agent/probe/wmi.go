package probe

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wmi"
)

// Bounds of questions to WMI: of one, and of all of a scan together.
const (
	wmiPatience = 30 * time.Second
	wmiBudget   = 2 * time.Minute
)

// question is what was asked of WMI and how it was answered.
type question struct{ namespace, query string }

type answer struct {
	some bool
	err  error
}

// objects are all objects of one class, with some of their properties.
type objects struct {
	properties []string
	rows       []map[string]any
	err        error
}

// Query implements detect.Querier. Each question is asked once; those about
// the machine's few fixed objects are answered from one look at them, since
// makers of hardware ask for them in thousands of ways.
func (f *Facts) Query(namespace, wql string) (bool, error) {
	if !f.isWindows() {
		return false, detect.Unknown("this machine has no Windows Management Instrumentation")
	}
	if err := f.ended(); err != nil {
		return false, err
	}
	q := question{strings.ToLower(strings.ReplaceAll(namespace, "/", `\`)), wql}
	a, known := f.asked[q]
	if !known {
		a = f.answer(q)
		if a.err != nil {
			a.err = detect.Unknown(fault.Public(a.err))
		}
		f.asked[q] = a
	}
	return a.some, a.err
}

func (f *Facts) answer(q question) answer {
	parsed, err := wmi.ParseQuestion(q.query)
	if err != nil || q.namespace != wmi.CIMv2 {
		return f.ask(q)
	}
	all := objects{}
	switch class := strings.ToLower(parsed.Class); {
	case class == "win32_product":
		all = f.products()
	case fixed(class):
		all = f.objects(class, parsed.Properties())
	}
	unseen := func(name string) bool { return !slices.Contains(all.properties, name) }
	switch {
	case all.properties == nil, slices.ContainsFunc(parsed.Properties(), unseen):
		return f.ask(q)
	case all.err != nil:
		return answer{err: all.err}
	}
	return answer{some: slices.ContainsFunc(all.rows, func(row map[string]any) bool {
		return parsed.Matches(func(name string) any { return row[name] })
	})}
}

// fixed lists the classes that have few objects and do not change while a
// scan goes on.
func fixed(class string) bool {
	switch class {
	case "win32_baseboard", "win32_bios", "win32_computersystem", "win32_computersystemproduct", "win32_diskdrive", "win32_networkadapter",
		"win32_operatingsystem", "win32_pnpentity", "win32_pnpsigneddriver", "win32_processor", "win32_systemenclosure", "win32_videocontroller":
		return true
	}
	return false
}

// products answers for Win32_Product from the scan: WMI would have the Windows
// Installer check and repair each product first.
func (f *Facts) products() objects {
	out := objects{properties: []string{"identifyingnumber", "name", "vendor", "version"}}
	for _, p := range f.snap.Packages {
		if p.Kind == "arp" && strings.HasPrefix(p.Name, "{") && p.Scope == "" {
			out.rows = append(out.rows, map[string]any{"identifyingnumber": p.Name, "name": p.Title, "vendor": p.Publisher, "version": p.Version})
		}
	}
	return out
}

// objects are all objects of a class with at least the named properties.
func (f *Facts) objects(class string, properties []string) objects {
	have := f.classes[class]
	lacking := func(name string) bool { return !slices.Contains(have.properties, name) }
	if have.properties != nil && !slices.ContainsFunc(properties, lacking) {
		return have
	}
	want := map[string]bool{}
	for _, name := range append(slices.Clone(have.properties), properties...) {
		want[name] = true
	}
	have = objects{properties: slices.AppendSeq([]string{}, maps.Keys(want))}
	slices.Sort(have.properties)
	what := strings.Join(have.properties, ", ")
	if what == "" { // a query that compares nothing
		what = "*"
	}
	have.err = f.timed(func(ctx context.Context) (err error) {
		have.rows, err = wmi.Objects(ctx, wmi.CIMv2, "SELECT "+what+" FROM "+class, have.properties...)
		return err
	})
	f.classes[class] = have
	return have
}

// ask asks WMI itself.
func (f *Facts) ask(q question) (a answer) {
	err := f.timed(func(ctx context.Context) (err error) {
		a.some, err = wmi.Any(ctx, q.namespace, q.query)
		return err
	})
	a.err = err
	return a
}

// timed asks within the time that is left for one question and for all.
func (f *Facts) timed(ask func(ctx context.Context) error) error {
	if f.spent > wmiBudget {
		return fault.New(fault.Unavailable, "probe: WMI takes too long on this machine")
	}
	ctx, cancel := context.WithTimeout(f.ctx, wmiPatience)
	defer cancel()
	start := time.Now()
	err := ask(ctx)
	f.spent += time.Since(start)
	return err
}
