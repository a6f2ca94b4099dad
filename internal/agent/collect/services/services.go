// Package services reads which services a Windows machine has and how they
// are started: service prerequisites and what should run after a patch.
package services

import (
	"context"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
)

// Collector fills inventory.State.Services from the registry and, on the live
// machine, the service control manager.
func Collector() collect.Collector {
	return collect.Collector{Name: "services", Collect: gather}
}

const servicesKey = `HKLM\SYSTEM\CurrentControlSet\Services`

// Types and starts of services (winnt.h).
const (
	ownProcess   = 0x10
	shareProcess = 0x20
	userInstance = 0x80 // made at each sign-in under a new name
	startAuto    = 2
	startManual  = 3
	startNever   = 4
)

// status is what the service control manager tells of a service.
type status struct {
	title   string
	running bool
}

func gather(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	known, err := map[string]status{}, error(nil)
	if t.Live() {
		known, err = ask()
	}
	found := winreg.Sub(t.Registry(), servicesKey, winreg.Native, func(name string, k winreg.Key) error {
		if one, ok := service(name, k); ok {
			now := known[strings.ToLower(name)]
			if now.title != "" {
				one.Title = now.title
			}
			one.Running = now.running && (one.Start == "auto" || one.Start == "delayed")
			s.State.Services = append(s.State.Services, one)
		}
		return nil
	})
	slices.SortFunc(s.State.Services, func(a, b inventory.Service) int { return strings.Compare(a.Name, b.Name) })
	return collect.Incomplete(err, found)
}

// service reads one key; drivers and instances for a user are none.
func service(name string, k winreg.Key) (inventory.Service, bool) {
	kind, ok := winreg.Number(k, "Type")
	if !ok || kind&(ownProcess|shareProcess) == 0 || kind&userInstance != 0 {
		return inventory.Service{}, false
	}
	one := inventory.Service{Name: name, Title: winreg.Text(k, "DisplayName"), Account: winreg.Text(k, "ObjectName"), Start: start(k)}
	if strings.HasPrefix(one.Title, "@") { // it stands in a library, in the user's language
		one.Title = ""
	}
	return one, true
}

func start(k winreg.Key) string {
	mode, _ := winreg.Number(k, "Start")
	switch mode {
	case startAuto:
		if triggers, err := k.Open("TriggerInfo"); err == nil {
			_ = triggers.Close() // read only
			return "trigger"
		}
		if delayed, _ := winreg.Number(k, "DelayedAutostart"); delayed == 1 {
			return "delayed"
		}
		return "auto"
	case startManual:
		return "manual"
	case startNever:
		return "disabled"
	}
	return "boot"
}
