package vendor

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// sources are what software is made of.
//
//go:embed source
var sources embed.FS

// Ending is how an installer ends.
type Ending string

// The endings.
const (
	Installs Ending = ""         // installed, 0
	Reboot   Ending = "reboot"   // installed, 3010: a restart is due
	Failed   Ending = "failed"   // nothing done, 1603
	Busy     Ending = "busy"     // nothing done, 1618 each time; EXE only
	BusyOnce Ending = "busyonce" // 1618 the first time, then as Installs; EXE only
	Slow     Ending = "slow"     // waits until C:\lab\<folder>.go exists; EXE only
)

// Kind is a form of installer.
type Kind string

// The kinds.
const (
	MSI Kind = "msi"
	EXE Kind = "exe" // NSIS, 64 bits
	// EXE32 is an NSIS installer of 32 bits, which a 64-bit Wine starts, and
	// which ends with 0 and has done nothing.
	EXE32 Kind = "exe32"
)

// Application is software in all its versions.
type Application struct {
	// Name is the display name. Without spaces it is also the name of the
	// folder, of the Uninstall key of an EXE, and of winget's package.
	Name string
	Kind Kind
	// Endings differ by version; a version that is not named installs.
	Endings map[string]Ending
	// Signers differ by version; a version that is not named is signed by
	// [Publisher].
	Signers map[string]string
	// Needs is the package identifier of another application, if it needs one.
	Needs string
}

// Folder is the name below "C:\Program Files", of the Uninstall key of an EXE,
// and of its files below C:\lab.
func (a Application) Folder() string { return strings.ReplaceAll(a.Name, " ", "") }

// ID is winget's package identifier.
func (a Application) ID() string { return "FettleLab." + a.Folder() }

// UpgradeCode is the same for all versions of an MSI.
func (a Application) UpgradeCode() string { return guid("upgrade", a.Name) }

// ProductCode is a version's own, of an MSI.
func (a Application) ProductCode(version string) string { return guid("product", a.Name, version) }

// Installer is one version's installer file.
type Installer struct {
	Application Application
	Version     string
	// File is the path of the signed installer, below the vendor's Dir.
	File string
	// SHA256 is the hash of the file in lower-case hex.
	SHA256 string
}

// Vendor makes installers and serves them from a folder. Its methods may be
// called from several goroutines.
type Vendor struct {
	// Dir is what the vendor's web server would serve.
	Dir string

	scratch string
	stamps  bool
	root    party
	stamper party
	signers map[string]party
	mu      sync.Mutex // one compiles
}

// New makes a vendor with certificates of its own. dir is what it serves;
// scratch is for its keys and for what it makes on the way. Both must exist.
func New(ctx context.Context, dir, scratch string) (*Vendor, error) {
	v := &Vendor{Dir: dir, scratch: scratch, stamps: canStamp(ctx)}
	if err := os.CopyFS(scratch, sources); err != nil {
		return nil, fmt.Errorf("vendor: %w", err)
	}
	return v, v.makeParties()
}

// Build makes and signs the installer of one version, such as "2.0.0".
func (v *Vendor) Build(ctx context.Context, a Application, version string) (Installer, error) {
	if a.Name == "" || strings.Trim(version, "0123456789.") != "" {
		return Installer{}, fmt.Errorf("vendor: %q %q cannot be built", a.Name, version)
	}
	program, err := v.program(ctx, version)
	if err != nil {
		return Installer{}, err
	}
	out := filepath.Join(v.Dir, fmt.Sprintf("%s-%s.%s", a.Folder(), version, strings.TrimSuffix(string(a.Kind), "32")))
	switch a.Kind {
	case MSI:
		err = v.msi(ctx, a, version, program, out)
	case EXE, EXE32:
		err = v.nsis(ctx, a, version, program, out)
	default:
		err = fmt.Errorf("vendor: %q is no kind of installer", a.Kind)
	}
	if err != nil {
		return Installer{}, err
	}
	signer := Publisher
	if s, ok := a.Signers[version]; ok {
		signer = s
	}
	if err := v.Sign(ctx, signer, out); err != nil {
		return Installer{}, err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return Installer{}, fmt.Errorf("vendor: %w", err)
	}
	sum := sha256.Sum256(data)
	return Installer{Application: a, Version: version, File: out, SHA256: hex.EncodeToString(sum[:])}, nil
}

// program compiles what gets installed, with a version resource, once for all
// applications.
func (v *Vendor) program(ctx context.Context, version string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	base := filepath.Join(v.scratch, "app-"+version)
	if _, err := os.Stat(base + ".exe"); err == nil {
		return base + ".exe", nil
	}
	text, err := sources.ReadFile("source/app.rc")
	if err != nil {
		return "", fmt.Errorf("vendor: %w", err)
	}
	fill := strings.NewReplacer("@QUAD@", strings.ReplaceAll(quad(version), ".", ","), "@VERSION@", version, "@PRODUCT@", "Fettle Lab Application", "@COMPANY@", Publisher)
	if err := os.WriteFile(base+".rc", []byte(fill.Replace(string(text))), 0o600); err != nil {
		return "", fmt.Errorf("vendor: %w", err)
	}
	if err := v.command(ctx, "x86_64-w64-mingw32-windres", base+".rc", base+".o"); err != nil {
		return "", err
	}
	return base + ".exe", v.command(ctx, "x86_64-w64-mingw32-gcc-posix", "-Os", "-s", "-Wall", "-DVERSION="+strconv.Quote(version),
		"-o", base+".exe", filepath.Join(v.scratch, "source", "app.c"), base+".o")
}

// msi packs a program with wixl.
func (v *Vendor) msi(ctx context.Context, a Application, version, program, out string) error {
	ending := a.Endings[version]
	if ending != Installs && ending != Reboot && ending != Failed {
		return fmt.Errorf("vendor: no MSI ends as %q", ending)
	}
	err := v.command(ctx, "wixl", "--arch", "x64", "-o", out,
		"-D", "Name="+a.Name, "-D", "Folder="+a.Folder(), "-D", "Company="+Publisher, "-D", "Version="+version, "-D", "Source="+filepath.Base(program), // wixl finds no full path

		"-D", "ProductCode="+strings.Trim(a.ProductCode(version), "{}"), "-D", "UpgradeCode="+strings.Trim(a.UpgradeCode(), "{}"),
		"-D", "Component="+strings.Trim(guid("component", a.Name), "{}"), "-D", "Ending="+string(ending),
		filepath.Join(v.scratch, "source", "app.wxs"))
	if err != nil || ending != Failed {
		return err
	}
	// wixl has no action that fails: type 19 ends the installation with a
	// message. It stands before the removal of the older version, which Wine
	// would not bring back.
	return v.command(ctx, "msibuild", out,
		"-q", "INSERT INTO `CustomAction` (`Action`,`Type`,`Source`,`Target`) VALUES ('Fail',19,'','The database of the application is damaged.')",
		"-q", "INSERT INTO `InstallExecuteSequence` (`Action`,`Condition`,`Sequence`) VALUES ('Fail','NOT REMOVE',1390)")
}

// nsis packs a program with makensis.
func (v *Vendor) nsis(ctx context.Context, a Application, version, program, out string) error {
	target, ending := "amd64", a.Endings[version]
	if a.Kind == EXE32 {
		target = "x86"
	}
	if ending == Installs {
		ending = "installs"
	}
	return v.command(ctx, "makensis", "-V2", "-DNAME="+a.Name, "-DFOLDER="+a.Folder(), "-DCOMPANY="+Publisher, "-DVERSION="+version,
		"-DQUAD="+quad(version), "-DSOURCE="+program, "-DOUT="+out, "-DTARGET="+target, "-DENDING="+string(ending),
		filepath.Join(v.scratch, "source", "setup.nsi"))
}

// command runs a program in the scratch folder.
func (v *Vendor) command(ctx context.Context, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = v.scratch
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return fmt.Errorf("vendor: %s: %w: %s", strings.Join(argv, " "), err, out)
	}
	if err != nil {
		return fmt.Errorf("vendor: %w", err)
	}
	return nil
}

// quad is a version with four numbers.
func quad(version string) string {
	parts := append(strings.Split(version, "."), "0", "0", "0", "0")
	return strings.Join(parts[:4], ".")
}

// guid is a name's own GUID, in capitals and braces.
func guid(name ...string) string {
	sum := sha256.Sum256([]byte("fettle lab\n" + strings.Join(name, "\n")))
	x := strings.ToUpper(hex.EncodeToString(sum[:16]))
	return "{" + strings.Join([]string{x[:8], x[8:12], x[12:16], x[16:20], x[20:]}, "-") + "}"
}
