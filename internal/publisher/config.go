package publisher

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/enrich/epss"
	"github.com/fettlehq/fettle/internal/publisher/enrich/kev"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/settings"
)

// Config is everything that a publisher needs to know.
type Config struct {
	// Data is the folder for its own state, Repository the folder that it
	// signs and that web servers or disks carry, Keys the folder of the
	// signing keys.
	Data       string `koanf:"data"`
	Repository string `koanf:"repository"`
	Keys       string `koanf:"keys"`
	// RootKeys is where the root keys go when the repository is made; empty
	// means with the others.
	RootKeys string `koanf:"root_keys"`
	// Passphrase seals the daily keys and RootPassphrase the root keys. They
	// come from the environment, never from the file.
	Passphrase     string `koanf:"passphrase"`
	RootPassphrase string `koanf:"root_passphrase"`

	// Machine publishes what this machine's own apt sources offer. Platform
	// is the machine's release; empty reads it from os-release.
	Machine  bool   `koanf:"machine"`
	Platform string `koanf:"platform"`
	// AptEtc replaces /etc/apt, Architectures the machine's own.
	AptEtc        string   `koanf:"apt_etc"`
	Architectures []string `koanf:"architectures"`
	// Archives are suites of archives to publish besides.
	Archives []Archive `koanf:"archives"`
	// Microsoft publishes what Microsoft says of its patches.
	Microsoft Microsoft `koanf:"microsoft"`
	// Winget publishes applications for Windows, Authenticode says whose
	// signatures on their installers count.
	Winget       Winget       `koanf:"winget"`
	Authenticode Authenticode `koanf:"authenticode"`
	// Wsusscn2 publishes Microsoft's offline scan file.
	Wsusscn2 Wsusscn2 `koanf:"wsusscn2"`
	// Dotnet publishes the releases of .NET.
	Dotnet Dotnet `koanf:"dotnet"`
	// SDP are catalogs of drivers and firmware from hardware makers.
	SDP []SDP `koanf:"sdp"`
	// Feeds are the addresses of what adds CVEs, severity and risk.
	Feeds Feeds `koanf:"feeds"`

	// Interval is the time between two runs; 0 means one hour.
	Interval time.Duration `koanf:"interval"`
	// Keep is for how long package versions that vanished from a vendor's
	// index stay in the catalog; 0 means 30 days.
	Keep time.Duration `koanf:"keep"`
	// Deltas is from how many older versions a delta is offered; 0 means 10,
	// negative none.
	Deltas int `koanf:"deltas"`
	// Expiry is how long signatures are good; zero parts take the defaults.
	Expiry repo.Expiry `koanf:"expiry"`
	// Proxy is for what this program fetches by itself; apt has its own.
	Proxy string `koanf:"proxy"`
}

// Archive is one suite of an archive; see debian.Config.
type Archive struct {
	Name            string   `koanf:"name"`
	URI             string   `koanf:"uri"`
	Suite           string   `koanf:"suite"`
	Components      []string `koanf:"components"`
	Architectures   []string `koanf:"architectures"`
	Keyring         string   `koanf:"keyring"`
	EndpointKeyring string   `koanf:"endpoint_keyring"`
	Security        *bool    `koanf:"security"`
	Release         string   `koanf:"release"`
	AllowExpired    bool     `koanf:"allow_expired"`
}

// Microsoft says where Microsoft's documents come from; see
// microsoft.Config. Without an address they are left out.
type Microsoft struct {
	// MSRC is the Security Update Guide's API ("default" is Microsoft's own
	// address), or the absolute path or file:// address of a folder with its
	// documents, for publishers behind an air gap.
	MSRC string `koanf:"msrc"`
	// Supersedence are files of the supersedence list; optional.
	Supersedence []string `koanf:"supersedence"`
	// Since is the first year to take, such as "2016"; empty takes all.
	Since string `koanf:"since"`
	// Catalog is the Update Catalog's address ("default" is Microsoft's own):
	// it gives payloads for KBs, and for the Newest cumulative updates of each
	// release in Follow. Files of the KBs in Prove are fetched and proven.
	Catalog string   `koanf:"catalog"`
	KBs     []string `koanf:"kbs"`
	Follow  []string `koanf:"follow"`
	Newest  int      `koanf:"newest"`
	Prove   []string `koanf:"prove"`
}

// Wsusscn2 says where the offline scan file comes from; see scan.Config.
type Wsusscn2 struct {
	// Location is an address, "default", or an absolute path; empty leaves the
	// file out.
	Location string `koanf:"location"`
	// Since is the first year to take; empty takes all.
	Since string `koanf:"since"`
	// Prove names KBs whose files are fetched and proven.
	Prove []string `koanf:"prove"`
	// Signer is who must have signed the file itself; empty does not look.
	Signer string `koanf:"signer"`
	// WindowsUpdate lets machines get what was not fetched and proven from their
	// own Windows Update; it needs Signer.
	WindowsUpdate bool `koanf:"windows_update"`
}

// Dotnet says where the release metadata of .NET comes from; see dotnet.Config.
type Dotnet struct {
	// Location is an address, "default", or the absolute path of a folder;
	// empty leaves .NET out.
	Location string `koanf:"location"`
	// Channels are those to take, such as "8.0"; none takes all.
	Channels []string `koanf:"channels"`
	// Prove names versions whose installers are fetched and proven, or
	// "latest".
	Prove []string `koanf:"prove"`
}

// SDP is a catalog of software distribution packages; see sdp.Config.
type SDP struct {
	// Name is short, such as "hp"; Location an address or an absolute path.
	Name     string `koanf:"name"`
	Location string `koanf:"location"`
	// Signer is whose signature the installers must carry; empty pins each
	// product to whom its first proven installer is from.
	Signer string `koanf:"signer"`
	// Prove names the packages whose installers are fetched and proven.
	Prove []string `koanf:"prove"`
	// CatalogSigner is who must have signed the catalog itself; empty does not
	// look.
	CatalogSigner string `koanf:"catalog_signer"`
}

// Winget says where manifests of applications come from; see winget.Config.
// Without an address they are left out.
type Winget struct {
	Manifests string   `koanf:"manifests"`
	Index     string   `koanf:"index"`
	Packages  []string `koanf:"packages"`
	// Keep is how many versions of each package stay, MaxInstaller the largest
	// installer in MiB; 0 means 3 and 2048.
	Keep         int   `koanf:"keep"`
	MaxInstaller int64 `koanf:"max_installer_mib"`
	// CVEs are CVE records (CVE JSON 5); empty takes feeds.cvss.
	CVEs string `koanf:"cves"`
	// Mozilla are Mozilla's own advisories, a folder or a tar file.
	Mozilla string `koanf:"mozilla"`
	// Products names the package that a product belongs to, where several claim
	// it: by the words of the report, such as "app tool|maker" or "arp Tool".
	Products map[string]string `koanf:"products"`
	// OtherVersions are packages whose installers say another version of
	// themselves than the product has; what they say is not compared.
	OtherVersions []string `koanf:"other_versions"`
}

// Authenticode says whose signatures on programs for Windows count.
type Authenticode struct {
	// Roots and TimestampRoots are PEM files of certificates.
	Roots          []string `koanf:"roots"`
	TimestampRoots []string `koanf:"timestamp_roots"`
	// Publishers names who must sign a product's installers, by package
	// identifier: the exact common name or organization of the certificate.
	Publishers map[string]string `koanf:"publishers"`
}

// Feeds are addresses (http, https or file); an empty one leaves the feed out.
type Feeds struct {
	DebianTracker string `koanf:"debian_tracker"`
	DebianDSA     string `koanf:"debian_dsa"`
	KEV           string `koanf:"kev"`
	EPSS          string `koanf:"epss"`
	// CVSS is a file or feed of CVE records (CVE JSON 5 or NVD 2.0); see
	// package cvss for the forms.
	CVSS string `koanf:"cvss"`
}

// DefaultFeeds are the vendors' own addresses. There is none for CVSS: no
// vendor offers all records in one file that is fit to be polled.
func DefaultFeeds() Feeds {
	return Feeds{
		DebianTracker: "https://security-tracker.debian.org/tracker/data/json",
		DebianDSA:     "https://salsa.debian.org/security-tracker-team/security-tracker/-/raw/master/data/DSA/list",
		KEV:           kev.DefaultURL,
		EPSS:          epss.DefaultURL,
	}
}

// envPrefix starts the names of environment variables that override the
// file, such as FETTLE_PUBLISHER_PASSPHRASE and FETTLE_PUBLISHER_FEEDS__KEV.
const envPrefix = "FETTLE_PUBLISHER_"

// Load reads a YAML file and the environment over the default feeds. An empty
// path reads the environment alone. fault.NotFound means that there is no
// such file, fault.Invalid that it can't be understood.
func Load(path string) (Config, error) {
	cfg := Config{Feeds: DefaultFeeds()}
	k := koanf.New(".")
	if path != "" {
		if _, err := os.Stat(path); err != nil {
			return cfg, fault.Wrap(err, fault.NotFound, "publisher: there is no configuration file %s", path)
		}
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return cfg, fault.Wrap(err, fault.Invalid, "publisher: the configuration file %s is no valid YAML", path)
		}
		unknown, err := settings.Unknown(k, &Config{})
		if err != nil {
			return cfg, err
		}
		if len(unknown) > 0 {
			return cfg, fault.New(fault.Invalid, "publisher: the configuration file %s has settings that are not known: %s", path, strings.Join(unknown, ", ")).
				WithHint("nothing was done; docs/publisher.md lists the settings")
		}
	}
	fromEnv := env.Provider(".", env.Opt{Prefix: envPrefix, TransformFunc: func(key, value string) (string, any) {
		key = strings.ToLower(strings.TrimPrefix(key, envPrefix))
		return strings.ReplaceAll(key, "__", "."), value
	}})
	if err := k.Load(fromEnv, nil); err != nil {
		return cfg, fault.Wrap(err, fault.Invalid, "publisher: the environment can't be read")
	}
	if err := k.Unmarshal("", &cfg); err != nil {
		return cfg, fault.Wrap(err, fault.Invalid, "publisher: the configuration does not have the right form")
	}
	return cfg, cfg.Validate()
}

// Validate returns fault.Invalid with what is missing.
func (c Config) Validate() error {
	switch {
	case c.Data == "" || c.Repository == "" || c.Keys == "":
		return fault.New(fault.Invalid, "publisher: the folders data, repository and keys must be set")
	case within(c.Keys, c.Repository) || c.RootKeys != "" && within(c.RootKeys, c.Repository):
		return fault.New(fault.Invalid, "publisher: the keys must not lie in the repository, which everybody may read")
	case !c.Machine && len(c.Archives) == 0 && c.Microsoft.MSRC == "" && c.Winget.Manifests == "" && len(c.SDP) == 0 && c.Wsusscn2.Location == "" && c.Dotnet.Location == "":
		return fault.New(fault.Invalid, "publisher: there is nothing to publish").
			WithHint("Set machine: true on a machine that has apt, name archives, or set microsoft.msrc: default, or winget.manifests.")
	}
	return nil
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func (c Config) withDefaults() Config {
	if c.Interval <= 0 {
		c.Interval = time.Hour
	}
	if c.Keep <= 0 {
		c.Keep = 30 * 24 * time.Hour
	}
	if c.Deltas == 0 {
		c.Deltas = 10
	}
	c.Deltas = max(c.Deltas, 0)
	return c
}
