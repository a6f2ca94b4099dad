package winget

import (
	"path"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// parts are what a file tells of its version: nothing else may tell it too.
func (d Document) parts() []string {
	switch d.Type {
	case "installer":
		return []string{"installers"}
	case "singleton", "merged":
		return []string{"installers", "names"}
	case "defaultlocale":
		return []string{"names"}
	}
	return []string{d.Type + " " + strings.ToLower(d.Locale)}
}

// home reports that the file lies where winget-pkgs has it: m/Maker/Tool/1.0.
func (d Document) home() bool {
	id := strings.ToLower(d.Identifier)
	want := "/" + id[:1] + "/" + strings.ReplaceAll(id, ".", "/") + "/" + strings.ToLower(d.Version)
	return strings.HasSuffix("/"+strings.ToLower(path.Dir(d.Place)), want)
}

// apart sees to it that each part of a version is told by one file. A folder is
// searched whole: whoever may write somewhere in it must not add installers to,
// or rename, what others have there. Of several files the one that lies where
// winget-pkgs has it counts; where there is none, or more than one, none does.
func apart(docs []Document) ([]Document, []crawl.Rejection) {
	type part struct{ id, version, part string }
	by := map[part][]int{}
	for i, d := range docs {
		for _, p := range d.parts() {
			k := part{strings.ToLower(d.Identifier), d.Version, p}
			by[k] = append(by[k], i)
		}
	}
	why := make([]string, len(docs))
	for k, all := range by {
		if len(all) == 1 {
			continue
		}
		homes := slices.DeleteFunc(slices.Clone(all), func(i int) bool { return !docs[i].home() })
		for _, i := range all {
			if len(homes) == 1 && homes[0] == i {
				continue
			}
			other := all[0]
			if len(homes) == 1 {
				other = homes[0]
			} else if other == i {
				other = all[1]
			}
			text := "it tells the same of " + docs[i].Identifier + " " + k.version + " as " + docs[other].Place
			if why[i] == "" || text < why[i] { // the same each time
				why[i] = text
			}
		}
	}
	var kept []Document
	var out []crawl.Rejection
	for i, d := range docs {
		if why[i] == "" {
			kept = append(kept, d)
		} else {
			out = append(out, crawl.Rejection{What: d.Place, Reason: why[i]})
		}
	}
	return kept, out
}
