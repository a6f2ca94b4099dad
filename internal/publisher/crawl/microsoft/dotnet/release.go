package dotnet

import (
	"encoding/json"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Channel is one line of releases, such as 8.0. Its JSON form is what Fetch
// keeps.
type Channel struct {
	Version  string    `json:"version"`
	Phase    string    `json:"phase"` // active, maintenance, eol, preview
	EOL      string    `json:"eol,omitempty"`
	Releases []Release `json:"releases"`
	// Previews are releases that are left out because they are none yet.
	Previews int `json:"previews,omitempty"`
}

// Release is one day's set of products.
type Release struct {
	Version  string    `json:"version"`
	Date     time.Time `json:"date"`
	Security bool      `json:"security,omitempty"`
	CVEs     []string  `json:"cves,omitempty"`
	Notes    string    `json:"notes,omitempty"`
	Products []Product `json:"products"`
}

// Product is an installer of a release.
type Product struct {
	Kind    string `json:"kind"` // runtime, desktop, sdk
	Version string `json:"version"`
	RID     string `json:"rid"` // win-x64
	Name    string `json:"name"`
	URL     string `json:"url"`
	SHA512  string `json:"sha512"` // lower-case hex
}

type (
	xChannel struct {
		Version  string     `json:"channel-version"`
		Phase    string     `json:"support-phase"`
		EOL      string     `json:"eol-date"`
		Releases []xRelease `json:"releases"`
	}
	xRelease struct {
		Version  string `json:"release-version"`
		Date     string `json:"release-date"`
		Security bool   `json:"security"`
		CVEs     []struct {
			ID string `json:"cve-id"`
		} `json:"cve-list"`
		Notes   string   `json:"release-notes"`
		Runtime *xFiles  `json:"runtime"`
		Desktop *xFiles  `json:"windowsdesktop"`
		SDK     *xFiles  `json:"sdk"`
		SDKs    []xFiles `json:"sdks"`
	}
	xFiles struct {
		Version string `json:"version"`
		Files   []struct {
			Name string `json:"name"`
			RID  string `json:"rid"`
			URL  string `json:"url"`
			Hash string `json:"hash"`
		} `json:"files"`
	}
)

var (
	finished = regexp.MustCompile(`^\d{1,3}\.\d{1,3}\.\d{1,4}$`)
	channel  = regexp.MustCompile(`^\d{1,3}\.\d{1,3}$`)
	cveID    = regexp.MustCompile(`^CVE-\d{4}-\d{4,}$`)
	sha512ID = regexp.MustCompile(`^[0-9a-f]{128}$`)
)

// maxChannel bounds one channel's document in bytes; they have some 2 MB.
const maxChannel = 64 << 20

// ParseChannel reads a channel's releases.json. It returns fault.Invalid for
// what is none, or has no release.
func ParseChannel(r io.Reader) (Channel, error) {
	var x xChannel
	if err := json.NewDecoder(io.LimitReader(r, maxChannel)).Decode(&x); err != nil {
		return Channel{}, fault.Wrap(err, fault.Invalid, "dotnet: the releases are no JSON")
	}
	if !channel.MatchString(x.Version) || len(x.Releases) == 0 {
		return Channel{}, fault.New(fault.Invalid, "dotnet: it is no list of releases")
	}
	c := Channel{Version: x.Version, Phase: x.Phase, EOL: x.EOL}
	for _, r := range x.Releases {
		if !finished.MatchString(r.Version) {
			c.Previews++
			continue
		}
		c.Releases = append(c.Releases, r.read())
	}
	return c, nil
}

func (x xRelease) read() Release {
	r := Release{Version: x.Version, Security: x.Security, Notes: x.Notes}
	if at, err := time.Parse("2006-01-02", x.Date); err == nil {
		r.Date = at
	}
	for _, c := range x.CVEs {
		if id := strings.ToUpper(strings.TrimSpace(c.ID)); cveID.MatchString(id) {
			r.CVEs = append(r.CVEs, id)
		}
	}
	r.add("runtime", x.Runtime)
	r.add("desktop", x.Desktop)
	sdks := x.SDKs
	if len(sdks) == 0 && x.SDK != nil {
		sdks = []xFiles{*x.SDK}
	}
	for i := range sdks {
		r.add("sdk", &sdks[i])
	}
	return r
}

// add takes the installers for Windows.
func (r *Release) add(kind string, x *xFiles) {
	if x == nil || !finished.MatchString(x.Version) {
		return
	}
	seen := map[string]bool{}
	for _, f := range x.Files {
		hash := strings.ToLower(f.Hash)
		if _, is := machines[f.RID]; !is || seen[f.RID] || !strings.HasSuffix(f.Name, ".exe") || !sha512ID.MatchString(hash) || !strings.HasPrefix(f.URL, "https://") {
			continue
		}
		seen[f.RID] = true
		r.Products = append(r.Products, Product{
			Kind: kind, Version: x.Version, RID: f.RID, Name: f.URL[strings.LastIndexByte(f.URL, '/')+1:], URL: f.URL, SHA512: hash,
		})
	}
}

// Entry is a channel in the index.
type Entry struct {
	Version string
	URL     string
	Latest  string // version of its newest release
}

// ParseIndex reads releases-index.json: the channels that are released. It
// returns fault.Invalid for what is none.
func ParseIndex(body []byte) ([]Entry, error) {
	var x struct {
		Channels []struct {
			Version string `json:"channel-version"`
			Latest  string `json:"latest-release"`
			Phase   string `json:"support-phase"`
			URL     string `json:"releases.json"`
		} `json:"releases-index"`
	}
	if err := json.Unmarshal(body, &x); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "dotnet: the index is no JSON")
	}
	var out []Entry
	for _, c := range x.Channels {
		if channel.MatchString(c.Version) && finished.MatchString(c.Latest) && c.URL != "" {
			out = append(out, Entry{Version: c.Version, URL: c.URL, Latest: c.Latest})
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "dotnet: the index names no channel")
	}
	return out, nil
}

// line is what versions replace each other in: a channel, and for SDKs its
// feature band too (8.0.4xx).
func (p Product) line() string {
	parts := strings.Split(p.Version, ".")
	line := p.Kind + " " + parts[0] + "." + parts[1]
	if n, err := strconv.Atoi(parts[2]); err == nil && p.Kind == "sdk" {
		line += "." + strconv.Itoa(n/100) + "xx"
	}
	return line
}
