package microsoft

import "testing"

func TestPlatformOf(t *testing.T) {
	for title, want := range map[string]string{
		"2023-04 Cumulative Update for Windows 11 Version 22H2 for arm64-based Systems (KB5025239)":                       "windows-11-22h2-arm64",
		"Security Update for Windows Server 2012 R2 (KB3019978)":                                                          "windows-server-2012-r2-amd64",
		"2018-09 Security Only Quality Update for Windows 7 for x64-based Systems (KB4457145)":                            "windows-7-amd64",
		"Security Update for Windows 7 (KB2000000)":                                                                       "windows-7-386",
		"2023-05 Cumulative Update for .NET Framework 3.5, 4.7.2 and 4.8 for Windows 10 Version 1809 for x64 (KB5027124)": "windows-10-1809-amd64",
		"2024-01 Cumulative Update for Windows Server 2019 (1809) for x64-based Systems (KB5034127)":                      "windows-server-2019-amd64",
		"2024-01 Cumulative Update for Microsoft server operating system version 21H2 for x64-based Systems (KB5034129)":  "windows-server-2022-amd64",
		"2024-11 Cumulative Update for Microsoft server operating system version 24H2 for x64-based Systems (KB5046617)":  "windows-server-2025-amd64",
		"Update for Windows 10 Version 1607 for x86-based Systems (KB4033631)":                                            "windows-10-1607-386",
		"Security Update for Internet Explorer Flash Player for Windows 8.1 (KB3018943)":                                  "windows-8.1-386",
		"Security Update for Microsoft Office 2016 (KB4011574) 32-Bit Edition":                                            "",
		"Windows Malicious Software Removal Tool x64 - v5.22 (KB890830)":                                                  "",
		"Security Update for SQL Server 2019 RTM GDR (KB5029377)":                                                         "",
	} {
		if got := PlatformOf(title); got != want {
			t.Errorf("%s: %q, want %q", title, got, want)
		}
	}
}
