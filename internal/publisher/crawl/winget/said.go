package winget

import (
	"cmp"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/msifile"
	"github.com/fettlehq/fettle/internal/pefile"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// saidForm is the number of the form of said: files of which less was read are
// read again.
const saidForm = 2

// said is what a fetched installer says of itself. Its maker's signature covers
// it, which it does not the manifest.
type said struct {
	Form int `json:"form,omitempty"`
	// ProductCode and UpgradeCode are the names under which Windows will know a
	// package of Windows Installer. Manifests leave them out more often than not.
	ProductCode string `json:"product_code,omitempty"`
	UpgradeCode string `json:"upgrade_code,omitempty"`
	// Versions are what it calls its version, the best word first.
	Versions []saying `json:"versions,omitempty"`
	// Name and Maker are ProductName with Manufacturer or CompanyName.
	Name  string `json:"name,omitempty"`
	Maker string `json:"maker,omitempty"`
	// Stub names the program that unpacks the installer, where the versions are
	// that program's.
	Stub string `json:"stub,omitempty"`
	// Wrong says why it could not be read.
	Wrong string `json:"wrong,omitempty"`
}

// saying is one version with the name under which it stands.
type saying struct {
	Where string `json:"w"`
	Text  string `json:"t"`
}

// listen reads a fetched installer, once.
func (f *fetching) listen(sum string, of release) said {
	if was := f.st.Said[sum]; was.Form == saidForm {
		return was
	}
	s := f.read(sum, of.installer.kind())
	s.Form = saidForm
	return s
}

// fileOf stands for a file as an installer of a package.
func fileOf(id, sum string) string { return strings.ToLower(id) + " " + sum }

// claimant stands for a package in a version.
func claimant(v Version) string { return strings.ToLower(v.Identifier) + " " + v.Version }

func (f *fetching) read(sum, kind string) said {
	file, err := os.Open(crawl.BlobPath(f.dir, sum))
	if err != nil {
		return said{Wrong: "the fetched installer can't be read"}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return said{Wrong: "the fetched installer can't be read"}
	}
	if kind == "msi" {
		return packageSays(file, info.Size())
	}
	return programSays(file, info.Size())
}

// packageSays reads a package of Windows Installer.
func packageSays(r io.ReaderAt, size int64) said {
	all, err := msifile.Properties(r, size)
	if err != nil {
		return said{Wrong: fault.Public(err)}
	}
	s := said{
		ProductCode: strings.ToUpper(all["ProductCode"]), UpgradeCode: strings.ToUpper(all["UpgradeCode"]),
		Name: tidy(all["ProductName"]), Maker: tidy(all["Manufacturer"]),
	}
	s.say("ProductVersion of the package", all["ProductVersion"])
	if !inventory.IsGUID(s.ProductCode) {
		s.Wrong = "the package names no product code"
	}
	if !inventory.IsGUID(s.UpgradeCode) {
		s.UpgradeCode = ""
	}
	return s
}

// programSays reads the version resource of a program. One that has none, or
// that is damaged, says nothing: the signature decides whether it is genuine.
func programSays(r io.ReaderAt, size int64) said {
	info, err := pefile.Read(r, size)
	if err != nil || info.Version == nil {
		return said{}
	}
	v := info.Version
	s := said{Name: tidy(v.String("ProductName")), Maker: tidy(v.String("CompanyName"))}
	s.say("ProductVersion", v.String("ProductVersion"))
	s.say("FileVersion", v.String("FileVersion"))
	if v.Fixed {
		s.say("ProductVersion in numbers", v.ProductVersion.String())
		s.say("FileVersion in numbers", v.FileVersion.String())
	}
	s.Stub = stub(v.String("OriginalFilename"), v.String("InternalName"), v.String("FileDescription"))
	return s
}

func (s *said) say(where, text string) {
	if text = tidy(text); text != "" {
		s.Versions = append(s.Versions, saying{where, text})
	}
}

// stub recognises programs that unpack what they carry, and whose version
// resource is about themselves: 7-Zip's (Firefox comes in one of version 18.05),
// WinRAR's, Microsoft's IExpress and InstallShield's.
func stub(names ...string) string {
	for _, name := range names {
		lower := strings.ToLower(name)
		for _, known := range []string{"7zs.sfx", "7zsd.sfx", "7z.sfx", "7zs2.sfx", "7zcon.sfx", "sfxrar", "wextract", "win32 cabinet self-extractor", "installshield", "setup launcher"} {
			if strings.Contains(lower, known) {
				return tidy(name)
			}
		}
	}
	return ""
}

// tidy makes a text of a file fit to be shown.
func tidy(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return clip(strings.TrimSpace(s))
}

// told adds to an installer what its package says, and takes away what it
// denies: nothing is known by a code that another package has.
func (in Installer) told(s said) Installer {
	if in.Denied = s.against(in); in.Denied != "" {
		if in.kind() == "msi" {
			in.ProductCode, in.Entries = "", slices.Clone(in.Entries)
			for i := range in.Entries {
				in.Entries[i].ProductCode, in.Entries[i].UpgradeCode = "", ""
			}
		}
		return in
	}
	if s.ProductCode == "" {
		return in
	}
	if in.ProductCode == "" {
		in.ProductCode = s.ProductCode
	}
	in.Entries = append(slices.Clip(in.Entries), AppsFeatures{ProductCode: s.ProductCode, UpgradeCode: s.UpgradeCode})
	return in
}

// against says what speaks against installing a package: that it is none, or
// another one than the manifest says.
func (s said) against(in Installer) string {
	switch {
	case s.Wrong != "":
		return s.Wrong
	case s.ProductCode != "" && inventory.IsGUID(in.ProductCode) && !strings.EqualFold(in.ProductCode, s.ProductCode):
		return "the manifest names product code " + in.ProductCode + ", the package itself " + s.ProductCode
	}
	for _, e := range in.Entries { // a manifest must not claim other makers' products
		switch {
		case s.ProductCode != "" && inventory.IsGUID(e.ProductCode) && !strings.EqualFold(e.ProductCode, s.ProductCode):
			return "the manifest names product code " + e.ProductCode + ", the package itself " + s.ProductCode
		case s.ProductCode != "" && inventory.IsGUID(e.UpgradeCode) && !strings.EqualFold(e.UpgradeCode, s.UpgradeCode):
			return "the manifest names upgrade code " + e.UpgradeCode + ", the package itself " + cmp.Or(s.UpgradeCode, "none")
		}
	}
	return ""
}
