package microsoft

import (
	"testing"
)

func TestParseProduct(t *testing.T) {
	for name, want := range map[string]struct {
		class     Class
		platform  string
		component string
		sp        int
		core      bool
	}{
		"Windows 10 for 32-bit Systems":                                {Whole, "windows-10-1507-386", "", 0, false},
		"Windows 10 Version 1809 for x64-based Systems":                {Whole, "windows-10-1809-amd64", "", 0, false},
		"Windows 10 Version 22H2 for ARM64-based Systems":              {Whole, "windows-10-22h2-arm64", "", 0, false},
		"Windows 11 for x64-based Systems":                             {Whole, "windows-11-21h2-amd64", "", 0, false},
		"Windows 11 version 26H1 for x64-based Systems":                {Whole, "windows-11-26h1-amd64", "", 0, false},
		"Windows 7 for x64-based Systems Service Pack 1":               {Whole, "windows-7-amd64", "", 1, false},
		"Windows Server 2008 for Itanium-Based Systems Service Pack 2": {Whole, "windows-server-2008-ia64", "", 2, false},
		"Windows Server 2008 R2 for x64-based Systems Service Pack 1":  {Whole, "windows-server-2008-r2-amd64", "", 1, false},
		"Windows Server 2012 R2 (Server Core installation)":            {Whole, "windows-server-2012-r2-amd64", "", 0, true},
		"Windows Server 2016  (Server Core installation)":              {Whole, "windows-server-2016-amd64", "", 0, true},
		"Windows Server, version 1709  (Server Core Installation)":     {Whole, "windows-server-1709-amd64", "", 0, true},
		"Windows Server 2022, 23H2 Edition (Server Core installation)": {Whole, "windows-server-23h2-amd64", "", 0, true},
		"Windows Server 2025":                                          {Whole, "windows-server-2025-amd64", "", 0, false},
		"Windows RT 8.1":                                               {Whole, "windows-8.1-arm", "", 0, false},
		"Windows 8.1 for x64-based systems":                            {Whole, "windows-8.1-amd64", "", 0, false},
		"Windows Vista Service Pack 2":                                 {Whole, "windows-vista-386", "", 2, false},
		"Windows Vista x64 Edition Service Pack 2":                     {Whole, "windows-vista-amd64", "", 2, false},
		"Microsoft Windows XP Service Pack 3":                          {Whole, "windows-xp-386", "", 3, false},
		"Microsoft Windows XP Professional x64 Edition Service Pack 2": {Whole, "windows-xp-x64-amd64", "", 2, false},
		"Microsoft Windows Server 2003 x64 Edition Service Pack 2":     {Whole, "windows-server-2003-amd64", "", 2, false},
		"Internet Explorer 11 on Windows 10 Version 1607 for x64-based Systems": {
			Component, "windows-10-1607-amd64", "Internet Explorer 11", 0, false,
		},
		"Microsoft .NET Framework 3.5.1 on Microsoft Windows Server 2003 x64 Edition Service Pack 2": {
			Component, "windows-server-2003-amd64", "Microsoft .NET Framework 3.5.1", 2, false,
		},
		"Microsoft .NET Framework 3.5 AND 4.8 on Windows Server 2019  (Server Core installation)": {
			Component, "windows-server-2019-amd64", "Microsoft .NET Framework 3.5 AND 4.8", 0, true,
		},
		"Windows 10 Version 1809 for HoloLens":      {class: Device},
		"Windows 10 Mobile":                         {class: Device},
		"Windows 12 for x64-based Systems":          {class: Strange},
		"Windows Server 2031":                       {class: Strange},
		"Windows Admin Center":                      {class: Foreign},
		"Microsoft Office 2019 for 64-bit editions": {class: Foreign},
		"Azure Service Fabric 9.0 for Windows":      {class: Foreign},
		".NET 8.0 installed on Windows":             {class: Foreign},
		"":                                          {class: Foreign},
	} {
		p := ParseProduct(name)
		if p.Class != want.class || p.Platform() != want.platform || p.Component != want.component || p.ServicePack != want.sp || p.Core != want.core {
			t.Errorf("%q: %+v on %q", name, p, p.Platform())
		}
	}
}
