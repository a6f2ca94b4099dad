package service

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/sys/windows/svc/eventlog"

	"github.com/fettlehq/fettle/internal/fault"
)

// general is the event id of warnings and errors that have none of their own.
const general = 1

// maxEvent bounds the text of one entry in bytes: ReportEvent takes 31,839
// characters.
const maxEvent = 30_000

// Events is a slog.Handler that writes to Windows' event log what people look
// for there: records with an attribute of the key, whose number is the event's
// id (1 to 1000, as EventCreate.exe has texts for), and all warnings and errors.
type Events struct {
	key    string
	report func(level slog.Level, id uint32, text string) error
	close  func() error
	mu     *sync.Mutex
	buf    *bytes.Buffer
	text   slog.Handler
}

var _ slog.Handler = (*Events)(nil)

// OpenEvents opens the log; the source should be registered (Install does so),
// or the viewer shows a remark beside each entry.
func OpenEvents(key string) (*Events, error) {
	log, err := eventlog.Open(Source)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "service: can't open the event log")
	}
	e := newEvents(key, func(level slog.Level, id uint32, text string) error {
		switch {
		case level >= slog.LevelError:
			return log.Error(id, text)
		case level >= slog.LevelWarn:
			return log.Warning(id, text)
		}
		return log.Info(id, text)
	})
	e.close = log.Close
	return e, nil
}

func newEvents(key string, report func(slog.Level, uint32, string) error) *Events {
	e := &Events{key: key, report: report, mu: &sync.Mutex{}, buf: &bytes.Buffer{}}
	e.text = slog.NewTextHandler(e.buf, &slog.HandlerOptions{ReplaceAttr: e.shorten})
	return e
}

// shorten leaves out what the event log shows beside the text.
func (e *Events) shorten(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == e.key) {
		return slog.Attr{}
	}
	return a
}

// Enabled implements slog.Handler.
func (e *Events) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (e *Events) Handle(ctx context.Context, r slog.Record) error {
	id := uint32(0)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == e.key && a.Value.Kind() == slog.KindInt64 {
			id = uint32(a.Value.Int64())
		}
		return id == 0
	})
	if id == 0 {
		if r.Level < slog.LevelWarn {
			return nil
		}
		id = general
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf.Reset()
	if err := e.text.Handle(ctx, r); err != nil {
		return err
	}
	text := strings.TrimSpace(e.buf.String())
	return e.report(r.Level, id, strings.ToValidUTF8(text[:min(len(text), maxEvent)], ""))
}

// WithAttrs implements slog.Handler.
func (e *Events) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *e
	c.text = e.text.WithAttrs(attrs)
	return &c
}

// WithGroup implements slog.Handler.
func (e *Events) WithGroup(name string) slog.Handler {
	c := *e
	c.text = e.text.WithGroup(name)
	return &c
}

// Close closes the log.
func (e *Events) Close() error { return e.close() }
