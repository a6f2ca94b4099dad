package main

import (
	"cmp"
	"context"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/server"
)

// publish runs the publisher once, showing its stages.
func (u *up) publish(ctx context.Context) (*publisher.Publisher, error) {
	cfg := machinePublisher(u.data)
	if u.config != "" {
		var err error
		if cfg, err = publisher.Load(u.config); err != nil {
			return nil, err
		}
	}
	p, err := publisher.New(ctx, cfg, publisher.Options{Log: u.log})
	if err != nil {
		return nil, err
	}
	u.interval = cmp.Or(max(cfg.Interval, 0), time.Hour)
	u.cfg.Repository = cfg.Repository
	u.cfg.RootFile = filepath.Join(cfg.Repository, "metadata", "1.root.json")
	show, done := publisher.Progress(nil), func() {}
	if !u.asJSON {
		show, done = tell(u.note)
	}
	report, err := p.Once(ctx, show)
	done()
	debug.FreeOSMemory() // a crawl takes hundreds of megabytes for seconds; then the server idles for an hour
	if err != nil {
		p.Close()
		return nil, err
	}
	if !u.asJSON {
		u.say("catalog version %d is published (%s)", report.Version, report.Took.Round(time.Millisecond))
	}
	return p, nil
}

// publishOn publishes again and again; the first time was just now.
func (u *up) publishOn(ctx context.Context, p *publisher.Publisher, s *server.Server) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(u.interval):
	}
	return p.Run(ctx, nil, func(r publisher.Report, err error) { u.published(ctx, s, r, err) })
}

// published lets the server take up what the publisher's loop has brought.
func (u *up) published(ctx context.Context, s *server.Server, r publisher.Report, err error) {
	debug.FreeOSMemory()
	if err != nil || !r.Changed {
		return
	}
	if err := s.Sync(ctx); err != nil {
		u.log.Error("the new catalog can't be taken up", "error", err)
	}
}
