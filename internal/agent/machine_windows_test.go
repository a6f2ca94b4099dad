package agent

import (
	"errors"
	"testing"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/fettlehq/fettle/internal/deploy"
)

// The kind of machine that is tested on Windows: this one, which the lab
// throws away.
const (
	platform    = "windows-apps-amd64"
	packageKind = "arp"
)

func rebootDouble(file string) []string { return []string{"cmd.exe", "/c", "echo x>" + file} }

const products = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\`

// set changes a product's version as its installer would.
func (s scripted) set(name, version string) error {
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, products+name, registry.SET_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return err
	}
	return errors.Join(k.SetStringValue("DisplayName", name), k.SetStringValue("DisplayVersion", version), k.Close())
}

// remove takes a product away.
func (s scripted) remove(name string) error {
	return registry.DeleteKey(registry.LOCAL_MACHINE, products+name)
}

// newMachine gives this machine two products; one lacks a patch.
func newMachine(t *testing.T) string {
	t.Helper()
	remove := func() {
		for _, key := range []string{products + "svc", products + "lib", `SOFTWARE\Fettle\RebootDue`} {
			if err := registry.DeleteKey(registry.LOCAL_MACHINE, key); err != nil && !errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
				t.Error(err)
			}
		}
	}
	remove()
	t.Cleanup(remove)
	check(t, scripted{}.set("svc", "1.0"))
	check(t, scripted{}.set("lib", "1:1.0-1"))
	return "/"
}

// announce does nothing: Windows stamps the key by itself.
func announce(*testing.T, string) {}

// restart forgets what Windows forgets at a restart; Wine can't restart below a
// program that is to go on.
func restart(t *testing.T, _ string) {
	t.Helper()
	check(t, registry.DeleteKey(registry.LOCAL_MACHINE, `SOFTWARE\Fettle\Boot`))
	check(t, registry.DeleteKey(registry.LOCAL_MACHINE, `SOFTWARE\Fettle\RebootDue`))
}

// askReboot says what an installer's exit code 3010 says.
func (s scripted) askReboot(r *deploy.Result) error {
	r.RebootDue = true
	return nil
}
