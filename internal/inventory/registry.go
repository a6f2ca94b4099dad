package inventory

import (
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
)

// registry gives a value of Windows' registry that follows from what the
// inventory knows of the system.
func (o OS) registry(key, name string) (fact detect.RegistryFact, known bool) {
	switch strings.ToLower(key) {
	case `hklm\software\microsoft\windows nt\currentversion`:
		return o.currentVersion(strings.ToLower(name))
	case `hklm\system\currentcontrolset\control\productoptions`:
		// Servers may be domain controllers or not.
		if r, found := WindowsOf(o.Build, false); strings.EqualFold(name, "ProductType") && found && r.ID == o.ID {
			return textFact("WinNT")
		}
	}
	return fact, false
}

// textFact is a value that is known unless it is empty.
func textFact(data string) (detect.RegistryFact, bool) {
	return detect.RegistryFact{Exists: true, Type: "sz", Data: data}, data != ""
}

func (o OS) currentVersion(name string) (fact detect.RegistryFact, known bool) {
	parts := strings.Split(o.Build, ".")
	switch name {
	case "csdversion":
		switch o.ServicePack {
		case "":
			return fact, false
		case "0":
			return fact, true
		}
		return textFact("Service Pack " + o.ServicePack)
	case "currentbuild", "currentbuildnumber":
		if len(parts) > 2 {
			return textFact(parts[2])
		}
	case "ubr":
		if len(parts) > 3 {
			return detect.RegistryFact{Exists: true, Type: "dword", Data: parts[3]}, true
		}
	case "editionid":
		return textFact(o.Edition)
	case "releaseid":
		return o.releaseID()
	}
	return fact, false
}

// releaseID is the value ReleaseId: the release of Windows 10 and later, which
// Microsoft has left at 2009 since 20H2. The first release has none.
func (o OS) releaseID() (fact detect.RegistryFact, known bool) {
	number := o.Version
	switch {
	case o.ID != "windows-10" && o.ID != "windows-11":
		return fact, false
	case number == "1507":
		return fact, true
	case len(number) == 4 && number[2] == 'h':
		number = "2009"
	}
	return textFact(number)
}
