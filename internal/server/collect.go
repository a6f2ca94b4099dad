package server

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/api"
	"github.com/fettlehq/fettle/internal/server/mirror"
)

// Collecting payloads: how often, and how long one that nobody needs is kept
// unless the configuration says otherwise.
const (
	jobCollect   = "collect"
	collectEvery = 6 * time.Hour
	keepPayloads = 30 * 24 * time.Hour
)

// collection remembers what the last run of the job found.
type collection struct {
	mu   sync.Mutex
	at   time.Time
	last mirror.Collected
}

// collect removes what is of no use any more: sessions that have ended, and
// payloads that no open task plans with and no approved patch brings, once they
// were of no use for the configured time.
func (s *Server) collect(ctx context.Context, _ json.RawMessage) error {
	if _, err := s.db.PruneSessions(ctx, s.cfg.Now()); err != nil {
		return err
	}
	needed, err := s.neededPayloads(ctx)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "server: which payloads are needed can't be told; none is removed")
	}
	now := s.cfg.Now()
	before := now.Add(-s.cfg.KeepPayloads)
	if s.cfg.KeepPayloads < 0 {
		before = time.Time{} // none is that old
	}
	got, err := s.mirror.Collect(ctx, func(sum string) bool { return needed[sum] }, before)
	s.collected.mu.Lock()
	s.collected.at, s.collected.last = now, got
	s.collected.mu.Unlock()
	if got.Removed+got.Partials > 0 {
		detail := fmt.Sprintf("%d payloads and the remains of %d transfers, %d bytes, not used since %s",
			got.Removed, got.Partials, got.Freed, before.UTC().Format(time.RFC3339))
		who := estate.Actor{Kind: "system", ID: "server", Name: "server"}
		if err := s.audit.Append(ctx, "", who, "payloads.collect", "payloads", detail); err != nil {
			return err
		}
		s.cfg.Log.Info("payloads collected", "removed", got.Removed, "partials", got.Partials, "freed", got.Freed)
	}
	return err
}

// neededPayloads are the SHA-256 of what open tasks plan with and approved
// patches bring, in all tenants.
func (s *Server) neededPayloads(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	all := s.db.In(estate.Everything())
	err := all.PlannedPayloads(ctx, func(p *deploy.Plan) {
		for _, x := range p.Payloads {
			out[x.SHA256] = true
		}
	})
	if err != nil {
		return nil, err
	}
	active, err := all.ActiveApprovals(ctx, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	seen := map[patch.ID]bool{}
	for _, a := range active {
		if a.Decision != approval.Approve || seen[a.Patch] {
			continue
		}
		seen[a.Patch] = true
		p, err := s.fleet.find(a.Patch)
		if fault.Is(err, fault.NotFound) {
			continue // it has gone from the catalog
		}
		if err != nil {
			return nil, err
		}
		for _, it := range p.Items {
			out[it.Payload.SHA256] = true
		}
	}
	return out, nil
}

// payloadStatus is what people see of the payloads and their disk.
func (s *Server) payloadStatus() api.PayloadStatus {
	s.collected.mu.Lock()
	out := api.PayloadStatus{
		Counted: s.collected.at, Payloads: s.collected.last.Payloads, Bytes: s.collected.last.Bytes,
		Idle: s.collected.last.Idle, IdleBytes: s.collected.last.IdleBytes, KeepIdle: int64(s.cfg.KeepPayloads / time.Second),
	}
	s.collected.mu.Unlock()
	out.Damaged = s.damagedPayloads()
	disk, told := s.blobs.Disk()
	if !told {
		return out
	}
	out.Free, out.Reserve, out.Coming = disk.Free, disk.Reserve, disk.Coming
	if err := s.blobs.Room(0); err != nil {
		out.Error = fault.Public(err)
	}
	return out
}
