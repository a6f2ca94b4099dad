package wmi

import "slices"

// matches is LIKE: % stands for any letters, _ for one, [abc], [a-z] and [^abc] for one of a set. It goes back to the last
// % alone, so that its time is bounded by the product of both lengths.
func matches(s, pattern string) bool {
	text, like := []rune(s), elements(pattern)
	i, j, star, from := 0, 0, -1, 0
	for i < len(text) {
		switch {
		case j < len(like) && like[j].any:
			star, from = j, i
			j++
		case j < len(like) && like[j].takes(text[i]):
			i++
			j++
		case star >= 0:
			from++
			i, j = from, star+1
		default:
			return false
		}
	}
	for j < len(like) && like[j].any {
		j++
	}
	return j == len(like)
}

// element is one part of a pattern.
type element struct {
	any, one, not bool
	set           [][2]rune
}

func (e element) takes(r rune) bool {
	if e.any || e.one {
		return e.one
	}
	in := slices.ContainsFunc(e.set, func(span [2]rune) bool { return span[0] <= r && r <= span[1] })
	return in != e.not
}

func elements(pattern string) (out []element) {
	p := []rune(pattern)
	for i := 0; i < len(p); i++ {
		end := slices.Index(p[i:], ']')
		switch {
		case p[i] == '%':
			out = append(out, element{any: true})
		case p[i] == '_':
			out = append(out, element{one: true})
		case p[i] == '[' && end > 1:
			out = append(out, set(p[i+1:i+end]))
			i += end
		default:
			out = append(out, element{set: [][2]rune{{p[i], p[i]}}})
		}
	}
	return out
}

func set(p []rune) (e element) {
	if p[0] == '^' && len(p) > 1 {
		e.not, p = true, p[1:]
	}
	for i := 0; i < len(p); i++ {
		if i+2 < len(p) && (p[i+1] == '-' || p[i+1] == '=') {
			e.set = append(e.set, [2]rune{p[i], p[i+2]})
			i += 2
			continue
		}
		e.set = append(e.set, [2]rune{p[i], p[i]})
	}
	return e
}
