// Package winreg reads Windows registries: the running machine's (Live), hive files of users who are not signed in
// (OpenHive), and exported text (Parse), which tests use as a double of the real one.
//
// All three give the same Key, so that what reads a registry can be tried on any system and against each of them. Only
// Volatile writes, and only keys that Windows forgets when it stops.
package winreg

import (
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// Views of the registry on 64-bit Windows ("Registry Redirector" in Microsoft's documents): 32-bit programs see other
// keys below HKLM\SOFTWARE than 64-bit ones.
const (
	Native = ""
	View32 = "32"
	View64 = "64"
)

// MaxValue bounds the data of one value, in bytes. A larger one gives fault.Exhausted.
const MaxValue = 1 << 20

// Registry opens keys by their whole path, such as `HKLM\SOFTWARE\Microsoft`, in a view. The root is written in its
// short form or in full. Errors: fault.NotFound for a key that is not there, fault.Denied for one that must not be read,
// fault.Invalid for a path that names no known root, fault.Unavailable otherwise.
type Registry interface {
	Open(path, view string) (Key, error)
}

// Key is an open key. Names are compared without case. It must be closed.
type Key interface {
	// Open opens a key below this one; errors are those of Registry.Open.
	Open(path string) (Key, error)
	// Keys returns the names of the keys right below, sorted without case.
	Keys() ([]string, error)
	// Values returns the names of the values, "" being the unnamed one.
	Values() ([]string, error)
	// Value returns a value: fault.NotFound when there is none of the name, fault.Exhausted beyond MaxValue.
	Value(name string) (Value, error)
	Close() error
}

// roots maps each way to write a root to its short form.
func root(name string) (string, bool) {
	switch strings.ToUpper(name) {
	case "HKLM", "HKEY_LOCAL_MACHINE":
		return "HKLM", true
	case "HKU", "HKEY_USERS":
		return "HKU", true
	case "HKCU", "HKEY_CURRENT_USER":
		return "HKCU", true
	case "HKCR", "HKEY_CLASSES_ROOT":
		return "HKCR", true
	case "HKCC", "HKEY_CURRENT_CONFIG":
		return "HKCC", true
	}
	return "", false
}

// split parts a whole path into its root's short form and the rest.
func split(path string) (top, rest string, err error) {
	path = clean(path)
	first, rest, _ := strings.Cut(path, `\`)
	top, known := root(first)
	if !known {
		return "", "", fault.New(fault.Invalid, "winreg: %q names no root of the registry", clip(first))
	}
	if strings.ContainsRune(rest, 0) {
		return "", "", fault.New(fault.Invalid, "winreg: a name of the registry holds no zero")
	}
	return top, rest, nil
}

// clean removes backslashes that separate nothing.
func clean(path string) string {
	parts := strings.Split(path, `\`)
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), `\`)
}

func clip(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// Sub calls do with each key right below a key of a registry and closes it. A key that is not there has none below it.
// Keys that vanish or must not be read meanwhile are passed over; an error of do ends it.
func Sub(r Registry, path, view string, do func(name string, k Key) error) error {
	k, err := r.Open(path, view)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = k.Close() }() // read only
	return Below(k, do)
}

// Below is Sub for a key that is open already.
func Below(k Key, do func(name string, k Key) error) error {
	names, err := k.Keys()
	if err != nil {
		return err
	}
	for _, name := range names {
		sub, err := k.Open(name)
		if err != nil {
			continue
		}
		err = do(name, sub)
		_ = sub.Close() // read only
		if err != nil {
			return err
		}
	}
	return nil
}

// Text returns the text of a value, "" when it can't be had: for attributes that a machine may lack.
func Text(k Key, name string) string {
	v, err := k.Value(name)
	if err != nil {
		return ""
	}
	return v.Text()
}

// Number returns the number of a value; false when it can't be had or is none.
func Number(k Key, name string) (uint64, bool) {
	v, err := k.Value(name)
	if err != nil {
		return 0, false
	}
	return v.Number()
}

// TextAt is Text of a value by the whole path of its key in the native view.
func TextAt(r Registry, path, name string) string {
	k, err := r.Open(path, Native)
	if err != nil {
		return ""
	}
	defer func() { _ = k.Close() }() // read only
	return Text(k, name)
}
