package vendor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Offer writes the manifests of installers below dir as winget's community
// repository lays them out; base is the address at which Dir is served.
//
// The form: https://github.com/microsoft/winget-pkgs/tree/master/doc/manifest/schema/1.6.0
func (v *Vendor) Offer(dir, base string, installers ...Installer) error {
	for _, i := range installers {
		id := i.Application.ID()
		at := filepath.Join(dir, strings.ToLower(id[:1]), filepath.Join(strings.Split(id, ".")...), i.Version)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return fmt.Errorf("vendor: %w", err)
		}
		for suffix, text := range map[string]string{
			"":              "DefaultLocale: en-US\nManifestType: version\n",
			".locale.en-US": "PackageLocale: en-US\nPublisher: " + Publisher + "\nPackageName: " + i.Application.Name + "\nLicense: Apache-2.0\nShortDescription: Software of the lab\nManifestType: defaultLocale\n",
			".installer":    i.manifest(base) + "ManifestType: installer\n",
		} {
			text = "PackageIdentifier: " + id + "\nPackageVersion: " + i.Version + "\n" + text + "ManifestVersion: 1.6.0\n"
			if err := os.WriteFile(filepath.Join(at, id+suffix+".yaml"), []byte(text), 0o644); err != nil {
				return fmt.Errorf("vendor: %w", err)
			}
		}
	}
	return nil
}

// manifest is the part of the installer's manifest that says how to install.
func (i Installer) manifest(base string) string {
	var b strings.Builder
	a := i.Application
	if a.Kind == MSI {
		fmt.Fprintf(&b, "InstallerType: wix\nScope: machine\nProductCode: '%s'\nAppsAndFeaturesEntries:\n- ProductCode: '%s'\n  UpgradeCode: '%s'\n",
			a.ProductCode(i.Version), a.ProductCode(i.Version), a.UpgradeCode())
	} else {
		// NSIS knows no exit codes of its own: the maker's are named.
		fmt.Fprintf(&b, "InstallerType: nullsoft\nScope: machine\nProductCode: %s\nExpectedReturnCodes:\n", a.Folder())
		for _, code := range []string{"3010 rebootRequiredToFinish", "1618 installInProgress", "1602 cancelledByUser", "1603 contactSupport"} {
			number, meaning, _ := strings.Cut(code, " ")
			fmt.Fprintf(&b, "- InstallerReturnCode: %s\n  ReturnResponse: %s\n", number, meaning)
		}
	}
	if a.Needs != "" {
		fmt.Fprintf(&b, "Dependencies:\n  PackageDependencies:\n  - PackageIdentifier: %s\n", a.Needs)
	}
	fmt.Fprintf(&b, "Installers:\n- Architecture: x64\n  InstallerUrl: %s/%s\n  InstallerSha256: %s\n", base, filepath.Base(i.File), strings.ToUpper(i.SHA256))
	return b.String()
}
