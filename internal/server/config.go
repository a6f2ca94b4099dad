package server

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Config is everything that a server needs to know.
type Config struct {
	// Data is the folder for the database, keys, mirrored catalog and payloads.
	Data string `koanf:"data"`
	// Database is a PostgreSQL DSN ("postgres://..."); empty means SQLite in
	// the data folder.
	Database string `koanf:"database"`
	// DatabasePasswordFile holds the password for it in its first line.
	DatabasePasswordFile string `koanf:"database_password_file"`
	// DatabaseOwner is the DSN of the role that owns the tables and migrates
	// them at the start, if that is not the one of Database.
	DatabaseOwner             string `koanf:"database_owner"`
	DatabaseOwnerPasswordFile string `koanf:"database_owner_password_file"`
	// Admin is where people and programs talk to the server. Plain HTTP is
	// served on loopback addresses alone; others need AdminTLS.
	Admin string `koanf:"admin"`
	// AdminCert and AdminKey are PEM files; without them an address that is
	// not loopback gets a certificate of the server's own CA.
	AdminCert string `koanf:"admin_cert"`
	AdminKey  string `koanf:"admin_key"`
	// Agents is where agents dial in, always TLS 1.3.
	Agents string `koanf:"agents"`
	// Names are the DNS names and IP addresses under which machines reach
	// this server; the first stands in enrolment commands.
	Names []string `koanf:"names"`
	// Repository is the folder or http(s) address to subscribe to.
	Repository string `koanf:"repository"`
	// RootFile is the repository's root metadata, brought here by a trusted
	// way. Its fingerprint is pinned on the first start.
	RootFile string `koanf:"root_file"`
	// SyncEvery is the time between two synchronisations; 0 means an hour.
	SyncEvery time.Duration `koanf:"sync_every"`
	// CheckIn is how often agents check in while they hold a wake channel; 0
	// means 8 hours.
	CheckIn time.Duration `koanf:"check_in"`
	// ConnectionsPerAddress bounds the connections of one address to a port over
	// which no machine has shown its certificate, or nobody has proven who he is;
	// 0 means 1,024 for machines and 256 for people, less than 0 no bound.
	ConnectionsPerAddress int `koanf:"connections_per_address"`
	// KeepFree is how many MiB payloads leave free on the disk of the data
	// folder; 0 means 1,024, or a twentieth of a smaller disk.
	KeepFree int64 `koanf:"keep_free_mib"`
	// KeepPayloads is how long payloads that nobody needs are kept; 0 means
	// 30 days, less than 0 for ever.
	KeepPayloads time.Duration `koanf:"keep_payloads"`

	// Console serves everything outside the API.
	Console http.Handler `koanf:"-"`
	// Bring asks the publisher of an all-in-one program to put payloads into
	// the repository before they are staged. Nil elsewhere.
	Bring func(ctx context.Context, hashes []string) error `koanf:"-"`
	// Publish makes the publisher of an all-in-one program crawl and publish
	// now, before a synchronisation that somebody asked for. Nil elsewhere.
	Publish func(ctx context.Context) error `koanf:"-"`
	Log     *slog.Logger                    `koanf:"-"`
	Now     func() time.Time                `koanf:"-"`
}

// Validate returns an Invalid fault that says what is missing.
func (c Config) Validate() error {
	switch {
	case c.Data == "":
		return fault.New(fault.Invalid, "server: no data folder is set").WithHint("name one with --data")
	case c.Repository == "":
		return fault.New(fault.Invalid, "server: no repository is named").WithHint("name a folder or an https address with --repository")
	case c.RootFile == "":
		return fault.New(fault.Invalid, "server: no root metadata is named").
			WithHint("copy metadata/1.root.json of the repository here by a way that you trust, and name it with --root")
	case (c.AdminCert == "") != (c.AdminKey == ""):
		return fault.New(fault.Invalid, "server: admin_cert and admin_key belong together")
	case c.Database == "" && c.DatabaseOwner+c.DatabasePasswordFile != "":
		return fault.New(fault.Invalid, "server: an owner or a password of a database is set, but no database").
			WithHint("name one with database, or leave database_owner and database_password_file out for SQLite")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Admin == "" {
		c.Admin = "127.0.0.1:8780"
	}
	if c.Agents == "" {
		c.Agents = ":8781"
	}
	if c.SyncEvery <= 0 {
		c.SyncEvery = time.Hour
	}
	if c.KeepPayloads == 0 {
		c.KeepPayloads = keepPayloads
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	given := len(c.Names)
	for _, name := range ownNames() {
		if !slices.Contains(c.Names[:given], name) {
			c.Names = append(c.Names, name)
		}
	}
	return c
}

func (c Config) path(parts ...string) string {
	return filepath.Join(append([]string{c.Data, "server"}, parts...)...)
}
