package updates

import (
	"strings"
	"testing"
)

func TestManifestArticle(t *testing.T) {
	for text, want := range map[string]string{
		`<assembly xmlns="urn:schemas-microsoft-com:asm.v3"><package identifier="KB5034122" restart="possible">`: "KB5034122",
		"\ufeff<assembly><package restart='x' identifier='kb890830'/></assembly>":                                "KB890830",
		`<assembly><package identifier="Windows"/><package identifier="KB5034122"/></assembly>`:                  "",
		`<assembly><package releaseType="KB5034122"/></assembly>`:                                                "",
		`<assembly identifier="KB5034122"/>`:                                                                     "", "DCM\x01PA30": "", "": "", "<": "",
		"<a>" + strings.Repeat(" ", maxManifest) + `<package identifier="KB5034122"/>`: "",
	} {
		if got := manifestArticle(strings.NewReader(text)); got != want {
			t.Errorf("%.80q: %q, want %q", text, got, want)
		}
	}
}

func FuzzManifestArticle(f *testing.F) {
	f.Add(`<assembly><package identifier="KB5034122"/></assembly>`)
	f.Fuzz(func(t *testing.T, text string) {
		if kb := manifestArticle(strings.NewReader(text)); kb != "" && !isArticle.MatchString(kb) {
			t.Fatalf("%q is no KB", kb)
		}
	})
}
