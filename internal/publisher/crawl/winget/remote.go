package winget

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// remote fetches the manifests of the newest versions that the index names,
// next to those that earlier runs have brought: the index of today names the
// newest one alone.
func (f *fetching) remote(ctx context.Context) (folded, error) {
	var old folded
	if f.st.Versions != "" {
		if err := loadJSON(f.dir, f.st.Versions, &old); err != nil {
			f.st.Seen = map[string]string{} // read all of it again
		}
	}
	known := map[versionKey]Version{}
	for _, v := range old.Versions {
		known[versionKey{strings.ToLower(v.Identifier), v.Version}] = v
	}
	failed, asked := 0, []string{}
	for _, id := range sortedKeys(f.st.Newest) {
		f.say("asking for manifests of " + id)
		for _, version := range f.newestOf(id) {
			k := versionKey{strings.ToLower(id), version}
			asked = append(asked, f.base(id, version))
			v, err := f.manifest(ctx, id, version, known[k])
			switch {
			case ctx.Err() != nil:
				return folded{}, fault.Wrap(ctx.Err(), fault.Cancelled, "winget: stopped")
			case err != nil:
				failed++
				f.note("%s %s: %s", id, version, fault.Public(err))
			default:
				known[k] = v
			}
		}
	}
	f.forgetOthers(asked)
	var out folded
	for _, v := range known {
		if f.s.follow.wants(v.Identifier) {
			out.Versions = append(out.Versions, v)
		}
	}
	if slices.SortFunc(out.Versions, compareVersions); len(out.Versions) == 0 {
		return folded{}, fault.New(fault.Unavailable, "winget: no manifest could be had, %d were asked for", failed).
			WithHint("winget.manifests is the address below which the folders 0 to z lie; winget.packages must stand in the index.")
	}
	out.Files = len(out.Versions)
	return out, nil
}

// newestOf lists the versions of a package that are kept.
func (f *fetching) newestOf(id string) []string {
	all := slices.Clone(f.st.Newest[id])
	slices.SortFunc(all, vercmp.WindowsQuad)
	return all[max(0, len(all)-f.s.cfg.Keep):]
}

// manifest fetches the files of one version. When none has changed, what is
// known stays.
func (f *fetching) manifest(ctx context.Context, id, version string, known Version) (Version, error) {
	if !identifier.MatchString(id) || !versionText.MatchString(version) || strings.Trim(version, ".") == "" {
		return Version{}, fault.New(fault.Invalid, "winget: the index names %s %s, which can't be a path", clip(id), clip(version))
	}
	base := f.base(id, version)
	if len(known.Installers) == 0 {
		f.forget(base)
	}
	docs, changed, err := f.files(ctx, base)
	if err != nil || !changed {
		return known, err
	}
	if len(docs) > 0 && known.Identifier != "" { // some have changed: all are needed
		f.forget(base)
		if docs, _, err = f.files(ctx, base); err != nil {
			return known, err
		}
	}
	all, rejected := Join(docs)
	if len(all) != 1 || !strings.EqualFold(all[0].Identifier, id) || all[0].Version != version {
		return known, fault.New(fault.Invalid, "winget: the manifest of %s %s is of something else, or has no installer (%d)", id, version, len(rejected))
	}
	return all[0], nil
}

// base is what the addresses of a version's files begin with.
func (f *fetching) base(id, version string) string {
	return fmt.Sprintf("%s/%s/%s/%s/%s", f.s.base, strings.ToLower(id[:1]), strings.ReplaceAll(id, ".", "/"), version, id)
}

// forgetOthers drops what is remembered of versions that are not asked for any
// more.
func (f *fetching) forgetOthers(asked []string) {
	for at := range f.st.Seen {
		if strings.HasPrefix(at, f.s.base+"/") && at != f.s.cfg.Index && at != f.s.cfg.CVEs &&
			!slices.ContainsFunc(asked, func(base string) bool { return strings.HasPrefix(at, base+".") }) {
			delete(f.st.Seen, at)
		}
	}
}

// forget makes the next fetch of a version's files an unconditional one.
func (f *fetching) forget(base string) {
	for at := range f.st.Seen {
		if strings.HasPrefix(at, base+".") {
			delete(f.st.Seen, at)
		}
	}
}

// files fetches the installer manifest and the one in the default language, or
// the single file of a small package. changed is false when none has.
func (f *fetching) files(ctx context.Context, base string) (docs []Document, changed bool, err error) {
	main, isNew, err := f.document(ctx, base+".yaml")
	if err != nil {
		return nil, false, err
	}
	changed = isNew
	if main.Type == "singleton" {
		return []Document{main}, changed, nil
	}
	locale := main.DefaultLocale
	if !isNew {
		locale = f.st.Seen[base+".locale"] // which one it was
	}
	f.st.Seen[base+".locale"] = locale
	parts := []string{base + ".installer.yaml"}
	if localeTag.MatchString(locale) {
		parts = append(parts, base+".locale."+locale+".yaml")
	}
	for i, at := range parts {
		d, isNew, err := f.document(ctx, at)
		if i > 0 && fault.Is(err, fault.NotFound) || i == 0 && !changed && fault.Is(err, fault.NotFound) {
			continue // a singleton, or a language that is not there
		}
		if err != nil {
			return nil, false, err
		}
		if changed = changed || isNew; isNew {
			docs = append(docs, d)
		}
	}
	return docs, changed, nil
}

// document fetches one file; isNew is false when it has not changed.
func (f *fetching) document(ctx context.Context, at string) (d Document, isNew bool, err error) {
	data, err := f.get(ctx, at, MaxManifest)
	if err != nil || data == nil {
		return Document{}, false, err
	}
	if d, err = ParseDocument(data); err != nil {
		delete(f.st.Seen, at)
	}
	return d, err == nil, err
}
