package microsoft

import (
	"fmt"
	"strings"
)

// fixture writes CVRF documents for tests.
type fixture struct {
	id, revision, initial, current string
	products                       []string // family|id|name
	vulns                          []fixtureVuln
}

type fixtureVuln struct {
	cve, title, status string
	products           []string
	fixes              []fixtureFix
}

type fixtureFix struct {
	kb, build, subType, supersedes, restart string
	products                                []string
}

func (f fixture) xml() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<cvrf:cvrfdoc xmlns:vuln="http://www.icasi.org/CVRF/schema/vuln/1.1" xmlns:prod="http://www.icasi.org/CVRF/schema/prod/1.1" xmlns:cvrf="http://www.icasi.org/CVRF/schema/cvrf/1.1">
<cvrf:DocumentTitle>%s updates</cvrf:DocumentTitle>
<cvrf:DocumentTracking><cvrf:Identification><cvrf:ID>%s</cvrf:ID></cvrf:Identification>
<cvrf:RevisionHistory><cvrf:Revision><cvrf:Number>%s</cvrf:Number></cvrf:Revision></cvrf:RevisionHistory>
<cvrf:InitialReleaseDate>%s</cvrf:InitialReleaseDate><cvrf:CurrentReleaseDate>%s</cvrf:CurrentReleaseDate></cvrf:DocumentTracking>
<prod:ProductTree><prod:Branch Type="Vendor" Name="Microsoft">`, f.id, f.id, f.revision, f.initial, f.current)
	for _, p := range f.products {
		part := strings.SplitN(p, "|", 3)
		fmt.Fprintf(&b, `<prod:Branch Type="Product Family" Name="%s"><prod:FullProductName ProductID="%s">%s</prod:FullProductName></prod:Branch>`, part[0], part[1], part[2])
	}
	b.WriteString("</prod:Branch></prod:ProductTree>\n")
	for _, v := range f.vulns {
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

func (v fixtureVuln) xml(b *strings.Builder) {
	fmt.Fprintf(b, `<vuln:Vulnerability><vuln:Title>%s</vuln:Title><vuln:Notes><vuln:Note Type="Description">&lt;p&gt;It  is bad.&lt;/p&gt;</vuln:Note></vuln:Notes><vuln:CVE>%s</vuln:CVE>
<vuln:ProductStatuses><vuln:Status Type="Known Affected">%s</vuln:Status></vuln:ProductStatuses>
<vuln:Threats><vuln:Threat Type="Impact"><vuln:Description>Remote Code Execution</vuln:Description>%[3]s</vuln:Threat>
<vuln:Threat Type="Severity"><vuln:Description>Critical</vuln:Description>%[3]s</vuln:Threat>
<vuln:Threat Type="Exploit Status"><vuln:Description>%[4]s</vuln:Description></vuln:Threat></vuln:Threats>
<vuln:CVSSScoreSets><vuln:ScoreSet><vuln:BaseScore>8.8</vuln:BaseScore><vuln:Vector>CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H</vuln:Vector>%[3]s</vuln:ScoreSet></vuln:CVSSScoreSets>
<vuln:Remediations>`, v.title, v.cve, ids(v.products), v.status)
	for _, x := range v.fixes {
		fmt.Fprintf(b, `<vuln:Remediation Type="Vendor Fix"><vuln:Description>%s</vuln:Description><vuln:URL>https://catalog.example/q=KB%[1]s</vuln:URL><vuln:Supercedence>%s</vuln:Supercedence>%s<vuln:RestartRequired>%s</vuln:RestartRequired><vuln:SubType>%s</vuln:SubType><vuln:FixedBuild>%s</vuln:FixedBuild></vuln:Remediation>
<vuln:Remediation Type="Known Issue"><vuln:Description>%[1]s</vuln:Description><vuln:URL>https://support.example/%[1]s</vuln:URL>%[3]s</vuln:Remediation>`,
			x.kb, x.supersedes, ids(x.products), x.restart, x.subType, x.build)
	}
	b.WriteString("</vuln:Remediations></vuln:Vulnerability>\n")
}

// february and march are two months of Windows Server 2019 and of an Office.
func february() fixture {
	return fixture{
		id: "2031-Feb", revision: "3", initial: "2031-02-11T08:00:00", current: "2031-02-20T08:00:00",
		products: []string{"Windows|1|Windows Server 2019", "Windows|2|Windows Server 2019  (Server Core installation)", "Microsoft Office|3|Microsoft Word 2031", "Mariner|4-5|azl3 kernel 6.6 on Azure Linux 3.0"},
		vulns: []fixtureVuln{
			{
				cve: "CVE-2031-1", title: "Kernel", status: "Publicly Disclosed:No;Exploited:Yes;Latest Software Release:Exploitation Detected", products: []string{"1", "2"},
				fixes: []fixtureFix{{kb: "9000002", build: "10.0.17763.200", subType: "Security Update", supersedes: "9000001", restart: "Yes", products: []string{"1", "2"}}},
			},
			{
				cve: "CVE-2031-2", title: "Word", status: "Publicly Disclosed:Yes;Exploited:No", products: []string{"3"},
				fixes: []fixtureFix{
					{kb: "8000001", subType: "Security Update", restart: "Maybe", products: []string{"3"}},
					{kb: "Click to Run", subType: "Security Update", products: []string{"3"}},
				},
			},
			{
				cve: "CVE-2031-3", title: "Linux", products: []string{"4-5"},
				fixes: []fixtureFix{{kb: "CBL-Mariner Releases", subType: "Security Update", build: "6.6.1-1", products: []string{"4-5"}}},
			},
		},
	}
}

func march() fixture {
	return fixture{
		id: "2031-Mar", revision: "1", initial: "2031-03-11T08:00:00", current: "2031-03-11T08:00:00",
		products: []string{"Windows|1|Windows Server 2019"},
		vulns: []fixtureVuln{{
			cve: "CVE-2031-9", title: "Print", products: []string{"1"},
			fixes: []fixtureFix{{kb: "9000003", build: "10.0.17763.300", subType: "Security Update", supersedes: "9000002", restart: "Yes", products: []string{"1"}}},
		}},
	}
}
