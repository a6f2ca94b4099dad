package scan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus"
	"github.com/fettlehq/fettle/internal/winargs"
)

// vendor is Microsoft's name in patches.
const vendor = microsoft.Vendor

// builder turns a Scan into patches.
type builder struct {
	byID    map[string]*Update // newest revision of each
	rules   map[string]detect.Rule
	refused map[string]int // by reason
	ids     map[string]patch.ID
	taken   map[patch.ID]bool
}

// output makes a patch of every update that people see: software that is not a
// part of a bundle, with Microsoft's own rules.
func output(s Scan) crawl.Output {
	out, _ := outputs(s)
	return out
}

// outputs is output with the update that each patch is of.
func outputs(s Scan) (crawl.Output, map[patch.ID]*Update) {
	of := map[patch.ID]*Update{}
	b := &builder{byID: map[string]*Update{}, rules: map[string]detect.Rule{}, refused: map[string]int{}, ids: map[string]patch.ID{}, taken: map[patch.ID]bool{}}
	for _, u := range s.Updates {
		if old := b.byID[u.ID]; old == nil || old.Number < u.Number {
			b.byID[u.ID] = u
		}
	}
	var out crawl.Output
	var top []string
	made := map[string]patch.Patch{}
	for _, id := range slices.Sorted(maps.Keys(b.byID)) {
		u := b.byID[id]
		if u.Type != "Software" || u.Bundled || u.Title == "" {
			continue
		}
		p, err := b.patch(u)
		if err != nil {
			b.refused[fault.Public(err)]++
			continue
		}
		made[id], b.ids[id] = p, p.ID
		top = append(top, id)
	}
	order := wsus.Order(top, func(id string) []string { return b.replaces(id, made) })
	for _, id := range top {
		p := made[id]
		for _, old := range order[id] {
			p.Supersedes = append(p.Supersedes, b.ids[old])
		}
		p.Requires = b.requires(b.byID[id], made)
		out.Patches = append(out.Patches, p)
		of[p.ID] = b.byID[id]
		if a, ok := advisory(b.byID[id], p); ok {
			out.Advisories = append(out.Advisories, a)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(b.refused)) {
		out.Rejected = append(out.Rejected, crawl.Rejection{What: fmt.Sprintf("%d updates of the offline scan file", b.refused[why]), Reason: why})
	}
	return out, of
}

// replaces are the updates of the same platform that one replaces.
func (b *builder) replaces(id string, made map[string]patch.Patch) []string {
	return slices.DeleteFunc(slices.Clone(b.byID[id].Replaces), func(old string) bool { return made[old].Platform != made[id].Platform })
}

// requires are the published updates of the same platform that one asks for,
// such as a servicing stack.
func (b *builder) requires(u *Update, made map[string]patch.Patch) []patch.ID {
	var out []patch.ID
	for _, group := range u.Prerequisites {
		for _, id := range group {
			if p, here := made[id]; here && len(group) == 1 && p.Platform == made[u.ID].Platform && id != u.ID {
				out = append(out, p.ID)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (b *builder) patch(u *Update) (patch.Patch, error) {
	parts := []*Update{u}
	if len(u.Bundles) > 0 {
		parts = nil
		for _, id := range u.Bundles {
			if part := b.byID[id]; part != nil {
				parts = append(parts, part)
			}
		}
		if len(parts) == 0 {
			return patch.Patch{}, fault.New(fault.NotFound, "scan: what it consists of is not in the file")
		}
	}
	applicable, installed, err := b.judge(u, parts)
	if err != nil {
		return patch.Patch{}, err
	}
	p := patch.Patch{
		ID: b.id(u), Vendor: vendor, Platform: cmp.Or(microsoft.PlatformOf(u.Title), otherPlatform), Product: product(u),
		Version: u.Created.Format("2006.01.02"), Title: u.Title, Classification: wsus.Classification(u.Class),
		Severity: patch.ParseSeverity(u.Severity), Released: u.Created, Applicable: &applicable, Installed: &installed,
	}
	if kb := kbOf(u); kb != "" {
		p.Advisories = []string{"KB" + kb}
	}
	p.Install, p.Items = install(parts, p.Version)
	return p, nil
}

// otherPlatform is for updates of other products than Windows: their own rules
// say where they belong.
const otherPlatform = "windows-apps-amd64"

func product(u *Update) string {
	if kb := kbOf(u); kb != "" {
		return "KB" + kb
	}
	return u.ID
}

// id is that of the KB on its platform, as the Security Update Guide's patches
// have it, so that both become one; another update of the same KB has its own.
func (b *builder) id(u *Update) patch.ID {
	id := patch.ID("wsus:" + u.ID)
	if platform := microsoft.PlatformOf(u.Title); platform != "" && kbOf(u) != "" {
		id = microsoft.ID(platform, kbOf(u))
		if b.taken[id] {
			id += patch.ID(":" + u.ID[:min(8, len(u.ID))])
		}
	}
	b.taken[id] = true
	return id
}

// judge puts the rules together: an update applies where all its prerequisites
// hold and one of its parts applies, and is installed when all parts that apply
// are.
func (b *builder) judge(u *Update, parts []*Update) (applicable, installed detect.Rule, err error) {
	pre, err := b.prerequisites(u, 0)
	if err != nil {
		return applicable, installed, err
	}
	var some, done []detect.Rule
	for _, part := range parts {
		if part.Refused != "" {
			return applicable, installed, fault.New(fault.Unsupported, "scan: %s", part.Refused)
		}
		if part.Installed == nil {
			return applicable, installed, fault.New(fault.Unsupported, "scan: no rule says when it is installed")
		}
		is, can := decode(part.Installed), wsus.Constant(true)
		if part.Installable != nil {
			can = decode(part.Installable)
		}
		own := []detect.Rule{can}
		if part != u {
			more, err := b.prerequisites(part, 0)
			if err != nil {
				return applicable, installed, err
			}
			own = append(more, own...)
		}
		may := every(own)
		some = append(some, may)
		not := may
		done = append(done, detect.Rule{Any: []detect.Rule{is, {Not: &not}}})
	}
	installed = every(done)
	if len(parts) == 1 {
		installed = decode(parts[0].Installed)
	}
	applicable = every(append(pre, anyOf(some)))
	return applicable, installed, cmp.Or(applicable.Validate(), installed.Validate())
}

// maxChain bounds how far detectoids may ask for each other.
const maxChain = 8

// prerequisites are the rules of the categories and detectoids that an update
// asks for. Software that it asks for becomes an edge instead; a category that
// is not in the file says nothing of a machine.
func (b *builder) prerequisites(u *Update, depth int) ([]detect.Rule, error) {
	if depth > maxChain {
		return nil, fault.New(fault.Unsupported, "scan: its prerequisites are nested too deep")
	}
	var out []detect.Rule
	for _, group := range u.Prerequisites {
		var fit []detect.Rule
		met := false
		for _, id := range group {
			if _, isClass := classes[id]; isClass {
				met = true
				continue
			}
			q := b.byID[id]
			switch {
			case q == nil:
			case q.Type == "Software":
				met = true // an edge, if it is published
			default:
				r, err := b.detectoid(q, depth)
				if err != nil {
					return nil, err
				}
				fit = append(fit, r)
			}
		}
		switch {
		case met:
		case len(fit) == 0:
			return nil, fault.New(fault.NotFound, "scan: a prerequisite is not in the file")
		default:
			out = append(out, anyOf(fit))
		}
	}
	return out, nil
}

// detectoid is the rule of a category or detectoid with what it asks for
// itself.
func (b *builder) detectoid(u *Update, depth int) (detect.Rule, error) {
	if r, done := b.rules[u.ID]; done {
		return r, nil
	}
	if u.Refused != "" {
		return detect.Rule{}, fault.New(fault.Unsupported, "scan: a prerequisite: %s", u.Refused)
	}
	rules, err := b.prerequisites(u, depth+1)
	if err != nil {
		return detect.Rule{}, err
	}
	if u.Installed != nil {
		rules = append(rules, decode(u.Installed))
	}
	r := every(rules)
	b.rules[u.ID] = r
	return r, nil
}

// decode reads a rule that Parse has encoded; one that is damaged says nothing,
// so that it never holds.
func decode(text json.RawMessage) detect.Rule {
	var r detect.Rule
	if json.Unmarshal(text, &r) != nil || r.Validate() != nil {
		return wsus.Constant(false)
	}
	return r
}

// every joins rules without those that are always true.
func every(rules []detect.Rule) detect.Rule {
	var out []detect.Rule
	for _, r := range rules {
		switch {
		case r.Always != nil && *r.Always:
		case len(r.All) > 0:
			out = append(out, r.All...)
		default:
			out = append(out, r)
		}
	}
	switch len(out) {
	case 0:
		return wsus.Constant(true)
	case 1:
		return out[0]
	}
	return detect.Rule{All: out}
}

func anyOf(rules []detect.Rule) detect.Rule {
	for _, r := range rules {
		if len(rules) == 1 || r.Always != nil && *r.Always {
			return r
		}
	}
	return detect.Rule{Any: rules}
}

// install says how an update of one file is installed. One with several has no
// command.
func install(parts []*Update, version string) (patch.Manifest, []patch.Item) {
	m := patch.Manifest{Kind: "cab", Reboot: patch.RebootMaybe, Scope: "machine"}
	var files []File
	u := parts[0]
	for _, part := range parts {
		files = append(files, part.Files...)
		if len(part.Files) > 0 {
			u = part
		}
	}
	m.Reboot = wsus.Reboot(u.Reboot)
	if len(files) != 1 || files[0].URL == "" || files[0].SHA1 == "" {
		return m, nil
	}
	f := files[0]
	switch name := strings.ToLower(f.Name); {
	case strings.HasSuffix(name, ".exe") && strings.EqualFold(u.Program, f.Name):
		m.Kind, m.Argv = "exe", append([]string{"{payload}"}, winargs.SplitArguments(u.Argument)...)
	case strings.HasSuffix(name, ".msu"):
		m.Kind = "msu"
	case strings.HasSuffix(name, ".msp"):
		m.Kind, m.Argv = "msp", winargs.SplitArguments(u.Argument)
	case strings.HasSuffix(name, ".cab") && u.Handler != "WindowsInstaller":
	default:
		return m, nil
	}
	if len(u.Codes) > 0 {
		m.ExitCodes = map[int]patch.ExitMeaning{}
		for _, c := range u.Codes {
			m.ExitCodes[c.Code] = wsus.Exit(c.Result, c.Reboot)
		}
	}
	pay := patch.Payload{Name: f.Name, Size: f.Size, URL: f.URL, Digest: "sha1:" + f.SHA1}
	if f.SHA256 != "" {
		pay.Digest = "sha256:" + f.SHA256
	}
	return m, []patch.Item{{Kind: "file", Name: f.Name, Version: version, Payload: pay}}
}

func advisory(u *Update, p patch.Patch) (patch.Advisory, bool) {
	if len(p.Advisories) == 0 {
		return patch.Advisory{}, false
	}
	return patch.Advisory{
		ID: p.Advisories[0], Vendor: vendor, Title: u.Title, Severity: p.Severity, Published: u.Created, Updated: u.Created,
		References: []string{"https://support.microsoft.com/help/" + kbOf(u)},
	}, true
}

// kbOf is the update's KB number, of its properties or its title.
func kbOf(u *Update) string {
	if u.KB != "" {
		return strings.TrimPrefix(strings.ToUpper(u.KB), "KB")
	}
	return microsoft.KBOf(u.Title)
}
