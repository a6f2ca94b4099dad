package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fettlehq/fettle/internal/fault"
)

func is(codes ...string) func(error) bool {
	return func(err error) bool { return slices.Contains(codes, codeOf(err)) }
}

// codeOf is the SQLSTATE of an error, "" when the server sent none.
func codeOf(err error) string {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// down reports an error of the way to the database: refused, cut, shutting
// down (class 57P), too many connections (53300), connection failures (08), a
// primary that is a standby now (25006), a session that was ended while this
// process stood still (25P03).
func down(err error) bool {
	if code := codeOf(err); code != "" {
		return strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "08") || slices.Contains([]string{"53300", "25006", "25P03"}, code)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// unreachable says why the first connection failed, without the password.
func unreachable(err error, cfg *pgx.ConnConfig) error {
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return f // a password file that can't be read
	}
	if errors.Is(err, context.Canceled) {
		return fault.Wrap(err, fault.Cancelled, "postgres: stopped")
	}
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	switch code := codeOf(err); {
	case strings.HasPrefix(code, "28"):
		return fault.Wrap(err, fault.Unavailable, "postgres: %s does not let user %q in", cfg.Host, cfg.User).
			WithHint("check the password (database_password_file, $PGPASSWORD or ~/.pgpass) and the server's pg_hba.conf")
	case code == "3D000":
		return fault.Wrap(err, fault.Unavailable, "postgres: %s has no database %q", cfg.Host, cfg.Database).
			WithHint("make it with: createdb --owner=%s %s", cfg.User, cfg.Database)
	case errors.As(err, &unknown), errors.As(err, &wrongName):
		return fault.Wrap(err, fault.Untrusted, "postgres: the certificate of %s is not trusted", cfg.Host).
			WithHint("name its CA in the connection string: sslmode=verify-full sslrootcert=/path/ca.pem")
	}
	return fault.Wrap(err, fault.Unavailable, "postgres: can't reach the database server at %s port %d", cfg.Host, cfg.Port).
		WithHint("check that it runs, listens there and lets user %q in", cfg.User)
}
