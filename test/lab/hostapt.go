package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// hostApt is what the lab takes over from the apt set-up of this machine, so
// that mirrors, proxies and credentials work in the lab as they do here.
type hostApt struct {
	// Codename is the release, such as "bookworm".
	Codename string
	// Arch is dpkg's name of the architecture.
	Arch string
	// MainURI is where the release's own suite comes from.
	MainURI string
	// AptOptions are apt.conf lines about how to fetch.
	AptOptions []string
	// SourceFiles are the active source lists and the keyrings they name.
	SourceFiles []sourceFile
}

// sourceFile is a file to put into a machine; Name is relative to its root.
type sourceFile struct {
	Name string
	Data []byte
}

// readHostApt asks this machine's apt and dpkg for its sources and settings.
func readHostApt(ctx context.Context) (hostApt, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return hostApt{}, fmt.Errorf("lab: read the release of this machine: %w", err)
	}
	host := hostApt{Codename: osReleaseField(string(release), "VERSION_CODENAME")}
	if host.Codename == "" {
		return hostApt{}, errors.New("lab: /etc/os-release has no VERSION_CODENAME: the lab needs a released Debian")
	}
	arch, err := command(ctx, "dpkg", "--print-architecture")
	if err != nil {
		return hostApt{}, err
	}
	host.Arch = strings.TrimSpace(string(arch))
	uris, err := command(ctx, "apt-get", "update", "--print-uris")
	if err != nil {
		return hostApt{}, err
	}
	if host.MainURI = mainURI(string(uris), host.Codename); host.MainURI == "" {
		return hostApt{}, fmt.Errorf("lab: no apt source of this machine has the suite %s", host.Codename)
	}
	dump, err := command(ctx, "apt-config", "dump", "Acquire")
	if err != nil {
		return hostApt{}, err
	}
	host.AptOptions = fetchOptions(string(dump))
	host.SourceFiles, err = sourceFiles("/", host.Arch)
	return host, err
}

// osReleaseField reads one field of os-release(5).
func osReleaseField(text, field string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+"="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

// mainURI is the first archive that serves the release's own suite (neither
// its updates nor its security suite), from what `apt-get update --print-uris`
// prints: one line for each suite, 'URI' first. Unlike `apt-get indextargets`
// this also works on a machine that has never fetched its indexes.
func mainURI(uris, codename string) string {
	for line := range strings.Lines(uris) {
		uri, ok := strings.CutPrefix(line, "'")
		if !ok {
			continue
		}
		if uri, _, ok = strings.Cut(uri, "'"); !ok {
			continue
		}
		if base, ok := strings.CutSuffix(uri, "dists/"+codename+"/InRelease"); ok {
			return base
		}
	}
	return ""
}

// fetchOptions keeps the lines of `apt-config dump Acquire` that say how to
// reach an archive: proxies, protocol settings, date checks.
func fetchOptions(dump string) []string {
	var keep []string
	for line := range strings.Lines(dump) {
		line = strings.TrimSpace(line)
		key, _, ok := strings.Cut(line, " ")
		if !ok || strings.HasSuffix(line, ` "";`) {
			continue
		}
		switch strings.ToLower(strings.Split(strings.TrimPrefix(key, "Acquire::"), "::")[0]) {
		case "http", "https", "ftp", "proxy", "retries", "check-valid-until", "check-date", "forceipv4", "forceipv6":
			keep = append(keep, line)
		}
	}
	return keep
}

// sourceFiles reads the active source lists below root and the keyrings that
// they name. Sources are limited to arch: a machine of the lab that also has a
// foreign architecture gets that one's packages from the lab's own archive.
func sourceFiles(root, arch string) ([]sourceFile, error) {
	var paths []string
	for _, pattern := range []string{"etc/apt/sources.list", "etc/apt/sources.list.d/*.sources", "etc/apt/sources.list.d/*.list"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, fmt.Errorf("lab: apt sources: %w", err)
		}
		paths = append(paths, found...)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("lab: apt sources: %w", err)
		}
		for _, key := range signedBy(string(data)) {
			if ring, err := os.ReadFile(filepath.Join(root, key)); err == nil {
				files[strings.TrimPrefix(key, "/")] = ring
			}
		}
		name, _ := filepath.Rel(root, path)
		files[name] = []byte(limitArch(string(data), strings.HasSuffix(path, ".sources"), arch))
	}
	var list []sourceFile
	for _, name := range sortedKeys(files) {
		list = append(list, sourceFile{name, files[name]})
	}
	return list, nil
}

// signedBy lists the key files that sources.list(5) text names, deb822 or
// one-line form.
func signedBy(text string) []string {
	var keys []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		line = strings.NewReplacer("[", " ", "]", " ").Replace(line)
		if v, ok := cutField(line, "Signed-By"); ok {
			line = "signed-by=" + v
		}
		for word := range strings.FieldsSeq(line) {
			if v, ok := strings.CutPrefix(word, "signed-by="); ok {
				for path := range strings.SplitSeq(v, ",") {
					if filepath.IsAbs(path) {
						keys = append(keys, path)
					}
				}
			}
		}
	}
	return keys
}

// limitArch adds an architecture limit to every source that has none.
func limitArch(text string, deb822 bool, arch string) string {
	var out strings.Builder
	if !deb822 {
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) > 2 && f[0] == "deb" {
				rest := strings.TrimPrefix(strings.TrimSpace(line), "deb")
				switch {
				case strings.Contains(line, "arch="):
				case strings.HasPrefix(f[1], "["):
					line = "deb " + strings.Replace(strings.TrimSpace(rest), "[", "[arch="+arch+" ", 1) + "\n"
				default:
					line = "deb [arch=" + arch + "]" + rest + "\n"
				}
			}
			out.WriteString(line)
		}
		return out.String()
	}
	for stanza := range strings.SplitSeq(text, "\n\n") {
		stanza = strings.Trim(stanza, "\n")
		if strings.Contains(stanza, "URIs:") && !strings.Contains(stanza, "Architectures:") {
			stanza += "\nArchitectures: " + arch
		}
		out.WriteString(stanza + "\n\n")
	}
	return out.String()
}

// cutField returns the value of a deb822 line "Name: value", the name compared
// without regard to case.
func cutField(line, name string) (string, bool) {
	k, v, ok := strings.Cut(line, ":")
	if !ok || !strings.EqualFold(strings.TrimSpace(k), name) {
		return "", false
	}
	return strings.TrimSpace(v), true
}

// randomID is n random hexadecimal digits, from the kernel.
func randomID(n int) (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		return "", fmt.Errorf("lab: random name: %w", err)
	}
	hex := strings.ReplaceAll(strings.TrimSpace(string(data)), "-", "")
	if n > len(hex) {
		return "", errors.New("lab: random name: " + strconv.Itoa(n) + " digits are too many")
	}
	return hex[:n], nil
}
