package door

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
)

// Attend lets a server that is served behind a Door remember whose connections
// are whose, and log what is worth it: failed handshakes and the like are the
// peers' affair and would fill the log, so that only who debugs sees them; a
// handler that panicked is the server's.
func Attend(srv *http.Server, log *slog.Logger) {
	srv.ConnContext = known
	srv.ErrorLog = slog.NewLogLogger(complaints{log.Handler()}, slog.LevelDebug)
}

// complaints raises the level of panics.
type complaints struct{ slog.Handler }

// Enabled lets Handle judge.
func (c complaints) Enabled(context.Context, slog.Level) bool { return true }

// Handle takes what net/http says, a panic with its stack.
func (c complaints) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "panic serving") {
		r.Level = slog.LevelError
	}
	if !c.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}
