package winget

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// compare takes out of the lines what its own installer gives the lie to, and
// remembers for the others what was compared.
func (b *builder) compare() {
	b.words = map[string]string{}
	firsts := b.firsts()
	for _, k := range b.order {
		all := b.lines[k]
		honest := map[string]bool{} // versions that their installers confirm
		for _, r := range all {
			if v, _ := b.said[r.installer.SHA256].versions(r.installer, r.version, false); v == agrees {
				honest[r.version.Version] = true
			}
		}
		b.lines[k] = slices.DeleteFunc(slices.Clone(all), func(r release) bool {
			why := b.lie(r, all, honest, firsts)
			if why != "" {
				b.reject(r, why)
			}
			return why != ""
		})
	}
	b.order = slices.DeleteFunc(b.order, func(k line) bool { return len(b.lines[k]) == 0 })
}

// lie says what shows that an installer is another version than its manifest
// says; "" when nothing does.
func (b *builder) lie(r release, all []release, honest map[string]bool, firsts map[string]string) string {
	s, heard := b.said[r.installer.SHA256]
	others := len(honest)
	if honest[r.version.Version] {
		others--
	}
	v, words := s.versions(r.installer, r.version, others > 0)
	if b.trusted.wants(r.version.Identifier) {
		v, words = silent, "what the installer says of its version is not held against the manifest, by the configuration (winget.other_versions)"
	} else if v != agrees {
		if known := b.known(r, firsts, heard); known != "" {
			return known
		}
	}
	if v == silent && !b.trusted.wants(r.version.Identifier) {
		if older := b.descends(r, all); older != "" {
			return older
		}
	}
	if v == contradicts {
		return words
	}
	if heard && words != "" {
		b.words[claimant(r.version)+r.installer.SHA256] = words
	}
	return ""
}

// known says of which other version a file is: of one that is still there, or
// of an older one as which it was sold before its manifest left.
func (b *builder) known(r release, firsts map[string]string, heard bool) string {
	key := fileOf(r.version.Identifier, r.installer.SHA256)
	claims := "the manifest sells it as version " + r.version.Version + ", but the same file "
	if first := firsts[key]; first != "" && vercmp.WindowsQuad(first, r.version.Version) != 0 {
		return claims + "is version " + first
	}
	if b.fetching && !heard { // its own word comes first, and it was not asked yet
		return ""
	}
	if sold := b.sold[key]; sold != "" && vercmp.WindowsQuad(sold, r.version.Version) < 0 {
		return claims + "was sold as version " + sold + " before"
	}
	return ""
}

// firsts says, by file and package, of which version a file is that several
// versions name: the one whose installer says so, else the one that named it
// first, else the lowest.
func (b *builder) firsts() map[string]string {
	out, sure := map[string]string{}, map[string]bool{}
	for _, k := range b.order {
		for _, r := range b.lines[k] {
			sum := r.installer.SHA256
			key := fileOf(r.version.Identifier, sum)
			v, _ := b.said[sum].versions(r.installer, r.version, false)
			first := b.sold[key] == r.version.Version
			switch have, again := out[key]; {
			case v == agrees, !sure[key] && first:
				out[key], sure[key] = r.version.Version, true
			case !again, !sure[key] && vercmp.WindowsQuad(r.version.Version, have) < 0:
				out[key] = r.version.Version
			}
		}
	}
	return out
}

// descends says which older version's installer calls itself newer than this
// one's, where the numbers of both are counted in another way than the
// manifest's.
func (b *builder) descends(r release, all []release) string {
	own, ok := b.own(r)
	if !ok {
		return ""
	}
	for _, o := range all {
		other, ok := b.own(o)
		if ok && vercmp.WindowsQuad(o.version.Version, r.version.Version) < 0 && vercmp.WindowsQuad(other, own) > 0 {
			return fmt.Sprintf("the manifest sells it as version %s, but it calls itself %s, which is lower than what version %s calls itself (%s)",
				r.version.Version, own, o.version.Version, other)
		}
	}
	return ""
}

// own is the version that a package of Windows Installer calls its own.
func (b *builder) own(r release) (string, bool) {
	s := b.said[r.installer.SHA256]
	if r.installer.kind() != "msi" || len(s.Versions) == 0 {
		return "", false
	}
	return numbers(s.Versions[0].Text)
}

func (b *builder) reject(r release, why string) {
	v := r.version
	x := crawl.Rejection{What: v.Identifier + " " + v.Version + " " + r.installer.Architecture + " " + r.installer.Type, Reason: why +
		"; if that is right, name the package in winget.other_versions"}
	if !slices.Contains(b.rejected, x) {
		b.rejected = append(b.rejected, x)
	}
}

// evidence are the sentences on what an installer says of itself.
func (b *builder) evidence(r release) []string {
	s := b.said[r.installer.SHA256]
	var out []string
	if words := b.words[claimant(r.version)+r.installer.SHA256]; words != "" {
		out = append(out, words)
	}
	if s.Name != "" || s.Maker != "" {
		out = append(out, fmt.Sprintf("the installer calls itself %q of %q, the manifest %q of %q", s.Name, s.Maker, clip(r.version.Name), clip(r.version.Publisher)))
	}
	if r.installer.kind() == "msi" && s.ProductCode != "" {
		out = append(out, "product code "+s.ProductCode+", upgrade code "+cmp.Or(s.UpgradeCode, "none")+" of the package; the manifest names no other")
	}
	return out
}

// wanted lists the installers that are needed of each line: those of the newest
// versions that the lab has found good, those that it has not seen yet, and those
// that it refuses, which people must hear of again; of each as many as are kept,
// so that none pushes out another.
func (b *builder) wanted() []release {
	var out []release
	for _, k := range b.order {
		seen, good, fresh, bad := 0, 0, 0, 0
		proven := slices.ContainsFunc(b.lines[k], func(r release) bool { return b.verdict(r) == foundGood })
		for _, r := range slices.Backward(b.lines[k]) {
			if !b.hopeful(r) {
				continue
			}
			var take bool
			switch v := b.verdict(r); {
			case v == foundGood:
				take = good < b.keep
				good++
			case v == foundBad:
				take = bad < b.keep
				bad++
			case proven && good == 0: // newer than all that is good: perhaps what comes next
				take = fresh < b.keep
				fresh++
			default: // older ones are not fetched in the place of what nobody can install
				take = seen < b.keep
			}
			seen++
			if take {
				out = append(out, r)
			}
		}
	}
	return out
}

// shown says which versions of a line become patches: the newest, and beyond them
// the newest that something can be installed from, with as many of the others as
// are newer than the last of these. What can't be had, or is refused, must not
// push out what can.
func (b *builder) shown(all []release) map[int]bool {
	out, good, fresh, other, lowest := map[int]bool{}, 0, 0, 0, 0
	for i, r := range slices.Backward(all) {
		_, have := b.sizes[r.installer.SHA256]
		sound, v := have && b.hopeful(r), b.verdict(r)
		switch {
		case good == b.keep:
		case sound && v == foundGood:
			good++
			out[i], lowest = true, i
		case sound && v == unseen:
			if fresh++; fresh <= b.keep {
				out[i], lowest = true, i
			}
		case other < b.keep:
			other++
			out[i] = true
		}
	}
	for i := range min(lowest, len(all)-b.keep) {
		delete(out, i)
	}
	return out
}

// hopeful reports that something may be installed from a version, as far as it
// is known here.
func (b *builder) hopeful(r release) bool {
	return r.installer.notInstallable() == "" && b.reasons[r.installer.SHA256] == "" && r.installer.Denied == ""
}

// opinion is what the lab has found of an installer for its package.
type opinion int

const (
	unseen opinion = iota
	foundGood
	foundBad
)

func (b *builder) verdict(r release) opinion {
	good, known := b.judged(r.version.Identifier, r.installer.SHA256)
	switch {
	case !known:
		return unseen
	case good:
		return foundGood
	}
	return foundBad
}
