package microsoft

import (
	"regexp"
	"strings"

	"github.com/fettlehq/fettle/internal/patch"
)

var (
	kbInTitle = regexp.MustCompile(`\((?:KB)?(\d{6,8})\)`)
	archTitle = regexp.MustCompile(`(?i)\bfor (x64|x86|arm64|itanium|ia64|32-bit|64-bit)(?:-based)?(?: systems?)?\b`)
	buildName = regexp.MustCompile(`\(\d{4}\)|, version 1[0-9]{3}$`)
)

// serverNames are names of titles that the documents call otherwise.
var serverNames = map[string]string{
	"microsoft server operating system version 21h2":  "windows server 2022",
	"microsoft server operating system version 22h2":  "windows server 2022",
	"microsoft server operating system version 23h2":  "windows server 2022, 23h2 edition",
	"microsoft server operating system version 24h2":  "windows server 2025",
	"microsoft server operating system, version 23h2": "windows server 2022, 23h2 edition",
	"microsoft server operating system, version 24h2": "windows server 2025",
}

// archNames are the architectures of titles in the documents' words.
var archNames = map[string]string{
	"x64": "x64-based systems", "64-bit": "x64-based systems", "x86": "32-bit systems", "32-bit": "32-bit systems",
	"arm64": "arm64-based systems", "itanium": "itanium-based systems", "ia64": "itanium-based systems",
}

// PlatformOf finds the release of Windows that a title ends with, such as
// "... for Windows 10 Version 1809 for x64-based Systems (KB5005030)". It is
// empty for updates of other products.
func PlatformOf(title string) string {
	lower := strings.ToLower(kbInTitle.ReplaceAllString(title, ""))
	arch := ""
	if m := archTitle.FindStringSubmatch(lower); m != nil {
		arch = archNames[m[1]]
		lower = strings.Replace(lower, m[0], "", 1)
	}
	at := max(strings.LastIndex(lower, " for windows "), strings.LastIndex(lower, " for microsoft server operating system"), strings.LastIndex(lower, " on windows "))
	if at < 0 {
		return ""
	}
	name := strings.Join(strings.Fields(lower[at+len(" for "):]), " ")
	if strings.HasPrefix(lower[at:], " on ") {
		name = strings.Join(strings.Fields(lower[at+len(" on "):]), " ")
	}
	if s, known := serverNames[name]; known {
		name = s
	}
	name = strings.TrimSpace(buildName.ReplaceAllString(name, ""))
	if arch != "" {
		name += " for " + arch
	}
	return ParseProduct(name).Platform()
}

// KBOf is the KB number in a title such as "... (KB5005030)"; empty without.
func KBOf(title string) string {
	if m := kbInTitle.FindStringSubmatch(title); m != nil {
		return m[1]
	}
	return ""
}

// ID names the patch of a KB on its platform, whichever source it comes from.
func ID(platform, kb string) patch.ID { return id(platform, kb) }
