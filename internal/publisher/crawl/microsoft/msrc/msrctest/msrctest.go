// Package msrctest writes CVRF documents for tests.
package msrctest

import (
	"fmt"
	"strings"
)

// Document is a CVRF document.
type Document struct {
	ID, Revision, Initial, Current string
	Products                       []string // family|id|name
	Vulnerabilities                []Vulnerability
}

// Vulnerability is one vulnerability of a Document.
type Vulnerability struct {
	CVE, Title, Status string
	Products           []string // ids
	Fixes              []Fix
}

// Fix is a vendor fix of a Vulnerability.
type Fix struct {
	KB, Build, SubType, Supersedes, Restart string
	Products                                []string // ids
}

// XML is the document as Microsoft writes it.
func (f Document) XML() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<cvrf:cvrfdoc xmlns:vuln="http://www.icasi.org/CVRF/schema/vuln/1.1" xmlns:prod="http://www.icasi.org/CVRF/schema/prod/1.1" xmlns:cvrf="http://www.icasi.org/CVRF/schema/cvrf/1.1">
<cvrf:DocumentTitle>%s updates</cvrf:DocumentTitle>
<cvrf:DocumentTracking><cvrf:Identification><cvrf:ID>%s</cvrf:ID></cvrf:Identification>
<cvrf:RevisionHistory><cvrf:Revision><cvrf:Number>%s</cvrf:Number></cvrf:Revision></cvrf:RevisionHistory>
<cvrf:InitialReleaseDate>%s</cvrf:InitialReleaseDate><cvrf:CurrentReleaseDate>%s</cvrf:CurrentReleaseDate></cvrf:DocumentTracking>
<prod:ProductTree><prod:Branch Type="Vendor" Name="Microsoft">`, f.ID, f.ID, f.Revision, f.Initial, f.Current)
	for _, p := range f.Products {
		part := strings.SplitN(p, "|", 3)
		fmt.Fprintf(&b, `<prod:Branch Type="Product Family" Name="%s"><prod:FullProductName ProductID="%s">%s</prod:FullProductName></prod:Branch>`, part[0], part[1], part[2])
	}
	b.WriteString("</prod:Branch></prod:ProductTree>\n")
	for _, v := range f.Vulnerabilities {
		v.xml(&b)
	}
	b.WriteString("</cvrf:cvrfdoc>")
	return b.String()
}

func ids(products []string) string {
	var b strings.Builder
	for _, p := range products {
		fmt.Fprintf(&b, "<vuln:ProductID>%s</vuln:ProductID>", p)
	}
	return b.String()
}

func (v Vulnerability) xml(b *strings.Builder) {
	fmt.Fprintf(b, `<vuln:Vulnerability><vuln:Title>%s</vuln:Title><vuln:Notes><vuln:Note Type="Description">&lt;p&gt;It  is bad.&lt;/p&gt;</vuln:Note></vuln:Notes><vuln:CVE>%s</vuln:CVE>
<vuln:ProductStatuses><vuln:Status Type="Known Affected">%s</vuln:Status></vuln:ProductStatuses>
<vuln:Threats><vuln:Threat Type="Impact"><vuln:Description>Remote Code Execution</vuln:Description>%[3]s</vuln:Threat>
<vuln:Threat Type="Severity"><vuln:Description>Critical</vuln:Description>%[3]s</vuln:Threat>
<vuln:Threat Type="Exploit Status"><vuln:Description>%[4]s</vuln:Description></vuln:Threat></vuln:Threats>
<vuln:CVSSScoreSets><vuln:ScoreSet><vuln:BaseScore>8.8</vuln:BaseScore><vuln:Vector>CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H</vuln:Vector>%[3]s</vuln:ScoreSet></vuln:CVSSScoreSets>
<vuln:Remediations>`, v.Title, v.CVE, ids(v.Products), v.Status)
	for _, x := range v.Fixes {
		fmt.Fprintf(b, `<vuln:Remediation Type="Vendor Fix"><vuln:Description>%s</vuln:Description><vuln:URL>https://catalog.example/q=KB%[1]s</vuln:URL><vuln:Supercedence>%s</vuln:Supercedence>%s<vuln:RestartRequired>%s</vuln:RestartRequired><vuln:SubType>%s</vuln:SubType><vuln:FixedBuild>%s</vuln:FixedBuild></vuln:Remediation>
<vuln:Remediation Type="Known Issue"><vuln:Description>%[1]s</vuln:Description><vuln:URL>https://support.example/%[1]s</vuln:URL>%[3]s</vuln:Remediation>`,
			x.KB, x.Supersedes, ids(x.Products), x.Restart, x.SubType, x.Build)
	}
	b.WriteString("</vuln:Remediations></vuln:Vulnerability>\n")
}

// February is a month of Windows Server 2019, of an Office and of Azure Linux.
func February() Document {
	return Document{
		ID: "2031-Feb", Revision: "3", Initial: "2031-02-11T08:00:00", Current: "2031-02-20T08:00:00",
		Products: []string{"Windows|1|Windows Server 2019", "Windows|2|Windows Server 2019  (Server Core installation)", "Microsoft Office|3|Microsoft Word 2031", "Mariner|4-5|azl3 kernel 6.6 on Azure Linux 3.0"},
		Vulnerabilities: []Vulnerability{
			{
				CVE: "CVE-2031-1", Title: "Kernel", Status: "Publicly Disclosed:No;Exploited:Yes;Latest Software Release:Exploitation Detected", Products: []string{"1", "2"},
				Fixes: []Fix{{KB: "9000002", Build: "10.0.17763.200", SubType: "Security Update", Supersedes: "9000001", Restart: "Yes", Products: []string{"1", "2"}}},
			},
			{
				CVE: "CVE-2031-2", Title: "Word", Status: "Publicly Disclosed:Yes;Exploited:No", Products: []string{"3"},
				Fixes: []Fix{
					{KB: "8000001", SubType: "Security Update", Restart: "Maybe", Products: []string{"3"}},
					{KB: "Click to Run", SubType: "Security Update", Products: []string{"3"}},
				},
			},
			{
				CVE: "CVE-2031-3", Title: "Linux", Products: []string{"4-5"},
				Fixes: []Fix{{KB: "CBL-Mariner Releases", SubType: "Security Update", Build: "6.6.1-1", Products: []string{"4-5"}}},
			},
		},
	}
}

// March follows February on Windows Server 2019.
func March() Document {
	return Document{
		ID: "2031-Mar", Revision: "1", Initial: "2031-03-11T08:00:00", Current: "2031-03-11T08:00:00",
		Products: []string{"Windows|1|Windows Server 2019"},
		Vulnerabilities: []Vulnerability{{
			CVE: "CVE-2031-9", Title: "Print", Products: []string{"1"},
			Fixes: []Fix{{KB: "9000003", Build: "10.0.17763.300", SubType: "Security Update", Supersedes: "9000002", Restart: "Yes", Products: []string{"1"}}},
		}},
	}
}
