package postgres

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fettlehq/fettle/internal/fault"
)

// Config names a database.
type Config struct {
	// DSN is the connection string of the role that serves: a postgres:// URL
	// or key=value pairs, see libpq's manual, 34.1.1. What it leaves out comes
	// from PGPASSWORD, PGSSLMODE and libpq's other variables, and from
	// ~/.pgpass.
	DSN string
	// PasswordFile holds the password in its first line; it is read at each
	// new connection, so that a password can be changed while the server runs.
	PasswordFile string
	// OwnerDSN, if not empty, is the role that owns the tables and migrates
	// them, for a serving role that may neither change the schema nor rewrite
	// the audit log. Empty: the serving role owns them.
	OwnerDSN          string
	OwnerPasswordFile string

	lockTime time.Duration // how long a lock of somebody else is waited for; 0: lockTime
	claim    *Claim        // that the pool goes by; may be nil
	tries    int           // of a claim; 0: claimTries
}

// A database machine that is lost in silence is noticed after half a minute, not
// after the quarter of an hour that Linux sends again what nobody acknowledges.
const (
	silence       = 30 * time.Second
	probeAfter    = 15 * time.Second // of no traffic
	probeInterval = 5 * time.Second
)

// dialer makes connections that notice silence.
func dialer() *net.Dialer {
	return &net.Dialer{
		Control:         impatient,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeInterval, Count: int((silence - probeAfter) / probeInterval)},
	}
}

// connectTime bounds how long one connection may take to come up.
const connectTime = 10 * time.Second

// parse reads both connection strings.
func (c Config) parse() (serving, owning *pgxpool.Config, err error) {
	if serving, err = parse(c.DSN, c.PasswordFile); err != nil {
		return nil, nil, err
	}
	own := c.settings()
	serving.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		err := prepare(ctx, conn, own)
		if err == nil && c.claim != nil {
			err = c.claim.admit(ctx, conn)
		}
		return err
	}
	if c.claim != nil {
		serving.PrepareConn = c.claim.fence
	}
	if c.OwnerDSN == "" {
		return serving, serving, nil
	}
	if owning, err = parse(c.OwnerDSN, c.OwnerPasswordFile); err != nil {
		return nil, nil, err
	}
	if a, b := serving.ConnConfig, owning.ConnConfig; a.User == b.User || a.Database != b.Database {
		return nil, nil, fault.New(fault.Invalid, "postgres: the owner must be another role, in the same database").
			WithHint("leave database_owner out if one role owns the tables and serves")
	}
	return serving, owning, nil
}

func parse(dsn, passwordFile string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fault.New(fault.Invalid, "postgres: the connection string can't be read"). // the cause may hold the password
													WithHint("it looks like postgres://user@host/database?sslmode=verify-full")
	}
	conn := cfg.ConnConfig
	if err := honest(conn); err != nil {
		return nil, err
	}
	if !strings.Contains(dsn, "pool_max_conns") {
		cfg.MaxConns = connections
	}
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectTime
	}
	// The name is what an administrator sees in pg_stat_activity. The others are
	// what pgx goes by; poolers know them too. The rest is prepare's.
	conn.RuntimeParams["application_name"] = "fettle"
	conn.RuntimeParams["client_encoding"] = "UTF8"
	conn.RuntimeParams["standard_conforming_strings"] = "on"
	conn.DialFunc = dialer().DialContext
	cfg.BeforeConnect = func(_ context.Context, next *pgx.ConnConfig) (err error) {
		if passwordFile != "" {
			next.Password, err = readPassword(passwordFile)
		}
		return err
	}
	return cfg, nil
}

// honest refuses modes that somebody between server and database can talk down
// to plain text: libpq's "allow" and "prefer", which is its default.
func honest(c *pgx.ConnConfig) error {
	encrypted, plain := "", ""
	for _, f := range append([]*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}, c.Fallbacks...) {
		switch {
		case near(f.Host):
		case f.TLSConfig != nil:
			encrypted = f.Host
		default:
			plain = f.Host
		}
	}
	if encrypted != "" && plain != "" {
		return fault.New(fault.Invalid, "postgres: TLS to %s is left to chance", plain).
			WithHint("add sslmode=verify-full (and sslrootcert=/path/ca.pem) to the connection string; sslmode=disable if nobody else can reach that network")
	}
	return nil
}

// near reports a Unix socket or an address of this machine.
func near(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" || err == nil && ip.IsLoopback()
}

func readPassword(file string) (string, error) {
	info, err := os.Stat(file)
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		return "", fault.New(fault.Denied, "postgres: everybody on this machine may read the password in %s", file).WithHint("chmod 600 %s", file)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "postgres: the database password %s can't be read", file)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// HasPassword reports whether a connection string itself holds a password,
// which has no place on a command line: every user of the machine sees those.
func HasPassword(dsn string) bool {
	if u, err := url.Parse(dsn); err == nil && u.Scheme != "" {
		_, has := u.User.Password()
		return has || u.Query().Has("password")
	}
	key := strings.ToLower(strings.Join(strings.Fields(dsn), " "))
	return strings.Contains(" "+strings.ReplaceAll(key, " =", "="), " password=") || strings.Contains(key, "://")
}
