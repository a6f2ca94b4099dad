// Package wsus translates the applicability rules of Microsoft's update
// services into detection rules.
//
// The same elements stand in software distribution packages (package sdp) and
// in the offline scan file (package scan). A rule is translated whole or
// refused with the name of what is not known: docs/microsoft.md lists the
// elements, and a test compares that list with this package.
package wsus

import (
	"encoding/xml"
	"strings"

	"github.com/fettlehq/fettle/internal/patch"
)

// Rules are the elements of one rule, such as IsInstalled; several count as
// all.
type Rules struct {
	Nodes []Node `xml:",any"`
}

// Node is an element of Microsoft's applicability rules.
type Node struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []Node     `xml:",any"`
}

func (n Node) get(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// name is the element's name without its prefix: namespaces in packages, "b."
// in the offline scan file.
func (n Node) name() string {
	name := n.XMLName.Local
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	return name
}

// Reboot reads RebootBehavior.
func Reboot(s string) patch.Reboot {
	switch s {
	case "NeverReboots":
		return patch.RebootNever
	case "AlwaysRequiresReboot":
		return patch.RebootAlways
	}
	return patch.RebootMaybe
}

// Exit reads the Result and Reboot of a return code.
func Exit(result string, reboot bool) patch.ExitMeaning {
	switch {
	case result == "Succeeded" && reboot:
		return patch.ExitRebootDue
	case result == "Succeeded":
		return patch.ExitOK
	case result == "Cancelled":
		return patch.ExitUserCanceled
	}
	return patch.ExitFailed
}

// Classification reads the words of UpdateClassification.
func Classification(s string) patch.Classification {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "security updates":
		return patch.Security
	case "critical updates":
		return patch.Bugfix
	case "drivers":
		return patch.Driver
	case "service packs":
		return patch.ServicePack
	case "update rollups":
		return patch.Rollup
	case "feature packs", "upgrades":
		return patch.Feature
	case "definition updates":
		return patch.Definition
	case "tools":
		return patch.Enhancement
	case "applications":
		return patch.Application
	}
	return patch.Update
}

// clip keeps messages short.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
