// Package wmi asks Windows Management Instrumentation, which hardware makers' applicability rules and the list of
// installed updates stand on.
//
// It goes through the scripting objects (SWbemLocator), as VBScript does: Wine knows no others, and every Windows has
// them. COM stays out of programs that idle: use it in a process that ends soon.
package wmi

import (
	"regexp"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// CIMv2 is the namespace of Win32_OperatingSystem and most others.
const CIMv2 = `root\cimv2`

// Bounds of a question and its answer.
const (
	maxQuery = 8 << 10
	maxRows  = 10_000
)

// Row is one object of an answer: the properties that were asked for, as text. Properties that the object lacks, or that
// have no value, are left out; several values are joined by line feeds.
type Row map[string]string

// share is a constant that begins like a path of the network; a backslash stands there twice.
var share = regexp.MustCompile(`['"]([\\/]{2}|/)[\\/]`)

// check refuses what must not be asked: what is no question; what would make this machine sign in at another; and
// Win32_Product and its like, which make the Windows Installer check and repair every product of the machine before it
// answers (Microsoft Support, KB974524).
func check(namespace, wql string) error {
	words := strings.Fields(wql)
	switch {
	case len(wql) > maxQuery:
		return fault.New(fault.Invalid, "wmi: the query has %d bytes, more than are asked", len(wql))
	case len(words) == 0 || !strings.EqualFold(words[0], "select"):
		return fault.New(fault.Invalid, "wmi: the query does not begin with SELECT")
	case strings.ContainsRune(wql, 0) || strings.ContainsRune(namespace, 0):
		return fault.New(fault.Invalid, "wmi: the query holds a zero")
	case strings.Contains(strings.ReplaceAll(namespace, "/", `\`), `\\`), strings.HasPrefix(namespace, "!"):
		return fault.New(fault.Invalid, "wmi: the namespace is that of another machine")
	case share.MatchString(wql):
		return fault.New(fault.Unsupported, "wmi: the query names something on another machine")
	}
	for _, w := range strings.FieldsFunc(strings.ToLower(wql), func(r rune) bool { return r > 0x7f || r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }) {
		switch w {
		case "win32_product", "cim_product", "win32_softwarefeature", "cim_softwarefeature", "win32_softwareelement", "cim_softwareelement":
			return fault.New(fault.Unsupported, "wmi: %s is not asked: the Windows Installer would check every product", w)
		case "win32_pingstatus":
			return fault.New(fault.Unsupported, "wmi: %s is not asked: it reaches other machines", w)
		case "cim_managedsystemelement", "cim_logicalelement", "cim_logicalfile", "cim_datafile", "cim_directory", "win32_directory":
			if !strings.Contains(strings.ToLower(wql), "where") {
				return fault.New(fault.Unsupported, "wmi: all objects of %s are not asked for: there is one for each file", w)
			}
		}
	}
	return nil
}
