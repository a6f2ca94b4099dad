package winreg

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// Memory is a registry in memory. Its views are redirected as Windows does it: in the 32-bit view HKLM\SOFTWARE is
// HKLM\SOFTWARE\WOW6432Node. Keys that Windows shares between the views are not told apart.
type Memory struct{ top node }

// node is a key of a Memory.
type node struct {
	name   string
	keys   map[string]*node // by fold(name)
	values map[string]named // by fold(name)
}

type named struct {
	name  string
	value Value
}

func fold(name string) string { return strings.ToUpper(name) }

// Set sets a value and makes the keys above it.
func (m *Memory) Set(path, name string, v Value) error {
	n, err := m.make(path)
	if err != nil {
		return err
	}
	if n.values == nil {
		n.values = map[string]named{}
	}
	n.values[fold(name)] = named{name, v}
	return nil
}

// make returns the node at a path, made if need be.
func (m *Memory) make(path string) (*node, error) {
	top, rest, err := split(path)
	if err != nil {
		return nil, err
	}
	n := &m.top
	for name := range strings.SplitSeq(strings.TrimSuffix(top+`\`+rest, `\`), `\`) {
		if n.keys == nil {
			n.keys = map[string]*node{}
		}
		next := n.keys[fold(name)]
		if next == nil {
			next = &node{name: name}
			n.keys[fold(name)] = next
		}
		n = next
	}
	return n, nil
}

// remove takes the key at a path and all below it away.
func (m *Memory) remove(path string) error {
	top, rest, err := split(path)
	if err != nil {
		return err
	}
	whole := top + `\` + rest
	at := strings.LastIndexByte(whole, '\\')
	if above := m.top.find(whole[:at]); above != nil {
		delete(above.keys, fold(whole[at+1:]))
	}
	return nil
}

// unset takes a value away.
func (m *Memory) unset(path, name string) error {
	n, err := m.make(path)
	if err == nil {
		delete(n.values, fold(name))
	}
	return err
}

// Open implements Registry.
func (m *Memory) Open(path, view string) (Key, error) {
	top, rest, err := split(path)
	if err != nil {
		return nil, err
	}
	if first, below, _ := strings.Cut(rest, `\`); view == View32 && top == "HKLM" && fold(first) == "SOFTWARE" {
		if next, _, _ := strings.Cut(below, `\`); fold(next) != "WOW6432NODE" {
			rest = clean(first + `\WOW6432Node\` + below)
		}
	}
	return m.top.Open(top + `\` + rest)
}

// find returns the node at a path below this one, nil when there is none.
func (n *node) find(path string) *node {
	for name := range strings.SplitSeq(clean(path), `\`) {
		if name == "" {
			continue
		}
		if n = n.keys[fold(name)]; n == nil {
			return nil
		}
	}
	return n
}

// Open implements Key.
func (n *node) Open(path string) (Key, error) {
	if found := n.find(path); found != nil {
		return found, nil
	}
	return nil, absentKey(path)
}

// Keys implements Key.
func (n *node) Keys() ([]string, error) {
	out := make([]string, 0, len(n.keys))
	for _, k := range n.keys {
		out = append(out, k.name)
	}
	sortNames(out)
	return out, nil
}

// Values implements Key.
func (n *node) Values() ([]string, error) {
	out := make([]string, 0, len(n.values))
	for _, v := range n.values {
		out = append(out, v.name)
	}
	sortNames(out)
	return out, nil
}

// Value implements Key.
func (n *node) Value(name string) (Value, error) {
	if v, ok := n.values[fold(name)]; ok {
		return v.value, nil
	}
	return Value{}, absentValue(name)
}

// Close implements Key.
func (n *node) Close() error { return nil }

func sortNames(names []string) {
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(strings.Compare(fold(a), fold(b)), strings.Compare(a, b)) })
}

func absentKey(path string) error {
	return fault.New(fault.NotFound, "winreg: there is no key %s", path)
}

func absentValue(name string) error {
	return fault.New(fault.NotFound, "winreg: there is no value %q", name)
}
