package aptget

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// Spec names one package version exactly.
type Spec struct{ Name, Arch, Version string }

// String returns apt's form, name:arch=version.
func (s Spec) String() string {
	if s.Arch == "" {
		return s.Name + "=" + s.Version
	}
	return s.Name + ":" + s.Arch + "=" + s.Version
}

// File is a package on disk.
type File struct {
	Spec
	// Path is where it lies, Size its length in bytes.
	Path string
	Size int64
}

// downloadTimeout ends a download from a mirror that always sends a little: whoever waits for it holds up others.
const downloadTimeout = 12 * time.Hour

// Download fetches packages into dir, which must exist: "apt-get download". apt checks each against the hash in its
// index. A file that is there already and right is not fetched again. Errors: fault.NotFound when an archive does not
// have one of them (then none is fetched), fault.Unavailable when one can't be fetched.
func (a *Apt) Download(ctx context.Context, specs []Spec, dir string, progress Progress) ([]File, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.giveTo(dir)
	w := watcher{progress: progress}
	cmd := run.Cmd{Argv: []string{"apt-get", "-q", "-o", "APT::Status-Fd=1", "download"}, Dir: dir, OnLine: w.line, Timeout: downloadTimeout}
	for _, s := range specs {
		if err := s.check(); err != nil {
			return nil, err
		}
		cmd.Argv = append(cmd.Argv, s.String())
	}
	if _, err := a.patient(ctx, cmd, progress); err != nil {
		return nil, err
	}
	files := make([]File, 0, len(specs))
	for _, s := range specs {
		f, err := s.locate(dir)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// check refuses what apt would read as an option or as a pattern.
func (s Spec) check() error {
	all := s.Name + s.Arch + s.Version
	if s.Name == "" || s.Version == "" || s.Name[0] == '-' || strings.ContainsAny(all, "/=?*[]^$ \t\r\n\x00") || strings.Contains(s.Name, ":") {
		return fault.New(fault.Invalid, "aptget: %q is not the name of a package version", s.String())
	}
	return nil
}

// locate finds the file that apt-get download made of a Spec: name_version_arch.deb, where the arch is "all" for
// packages without one and ':' in the version is "%3a".
func (s Spec) locate(dir string) (File, error) {
	base := escape(s.Name, "_:") + "_" + escape(s.Version, "_:") + "_"
	for _, arch := range []string{s.Arch, "all", "*"} {
		if arch == "" {
			continue
		}
		matches, err := filepath.Glob(filepath.Join(globQuote(dir), globQuote(base)+arch+".deb"))
		if err != nil || len(matches) == 0 {
			continue
		}
		info, err := os.Stat(matches[0])
		if err != nil {
			return File{}, fault.Wrap(err, fault.Unavailable, "aptget: can't read the package %s", s)
		}
		return File{Spec: s, Path: matches[0], Size: info.Size()}, nil
	}
	return File{}, fault.New(fault.Unavailable, "aptget: apt-get download succeeded but left no file of %s", s)
}

var globSpecial = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func globQuote(s string) string { return globSpecial.Replace(s) }

func (a *Apt) path(rel string) string { return filepath.Join(a.cfg.Root, filepath.FromSlash(rel)) }
