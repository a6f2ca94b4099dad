package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fettlehq/fettle/internal/blob"
	blobfs "github.com/fettlehq/fettle/internal/blob/fs"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/api"
)

// Healing of damaged payloads: what machines say makes the server read a
// payload at most once per doubtAgain, patrol reads one each patrolEvery and
// all of them at most once per patrolRound, never faster than healPace bytes a
// second in all.
const (
	doubtAgain  = time.Hour
	maxDoubts   = 1000
	patrolEvery = time.Minute
	patrolRound = 24 * time.Hour
	healPace    = 64 << 20
	keepAside   = 7 * 24 * time.Hour
)

// healer reads payloads anew, sets aside those whose bytes do not have their
// hash any more, and has them brought in again. What others say of a payload
// only decides when it is read.
type healer struct {
	blobs *blobfs.Store
	log   *slog.Logger
	now   func() time.Time
	// stage brings payloads in, in the background; find says what payload it
	// is that a hash names; told writes the audit log.
	stage func([]patch.Payload)
	find  func(ctx context.Context, sum string) (patch.Payload, bool)
	told  func(ctx context.Context, sum, detail string)

	pace *rate.Limiter
	kick chan struct{}

	mu    sync.Mutex
	asked map[string]time.Time // when a payload was last doubted and read for it
	queue []string
	round []blob.Key // what patrol has still to read
	began time.Time  // of the round
}

// openHealer makes the healer; run starts it.
func (s *Server) openHealer(context.Context) error {
	s.healer = &healer{
		blobs: s.blobs, log: s.cfg.Log, now: s.cfg.Now, stage: s.enqueueStage, find: s.wanted,
		told: func(ctx context.Context, sum, detail string) {
			who := estate.Actor{Kind: "system", ID: "server", Name: "server"}
			if err := s.audit.Append(ctx, "", who, "payload.damaged", sum, detail); err != nil {
				s.cfg.Log.Error("the audit log can't be written", "action", "payload.damaged", "object", sum, "error", err)
			}
		},
		pace: rate.NewLimiter(healPace, healPace), kick: make(chan struct{}, 1), asked: map[string]time.Time{},
	}
	return nil
}

// doubt has a payload read soon, unless that was done within the hour.
func (h *healer) doubt(sum string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	for old, at := range h.asked {
		if now.Sub(at).Abs() >= doubtAgain {
			delete(h.asked, old)
		}
	}
	if _, asked := h.asked[sum]; asked || len(h.asked) >= maxDoubts {
		return // patrol comes by in any case
	}
	h.asked[sum] = now
	h.queue = append(h.queue, sum)
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// run reads what is doubted at once and the rest slowly until the context ends.
func (h *healer) run(ctx context.Context) {
	h.resume(ctx)
	tick := time.NewTicker(patrolEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-h.kick:
		case <-tick.C:
			if key, ok := h.nextOfRound(); ok {
				h.look(ctx, key)
			}
		}
		h.lookAtDoubted(ctx)
	}
}

func (h *healer) lookAtDoubted(ctx context.Context) {
	for ctx.Err() == nil {
		h.mu.Lock()
		if len(h.queue) == 0 {
			h.mu.Unlock()
			return
		}
		key := blob.Key(h.queue[0])
		h.queue = h.queue[1:]
		h.mu.Unlock()
		h.look(ctx, key)
	}
}

// nextOfRound returns the payload that patrol reads next.
func (h *healer) nextOfRound() (blob.Key, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.round) == 0 {
		now := h.now()
		if now.Sub(h.began).Abs() < patrolRound {
			return "", false
		}
		h.began = now
		if err := h.blobs.DropAside(now.Add(-keepAside)); err != nil {
			h.log.Error("old damaged payloads can't be removed", "error", err)
		}
		for info, err := range h.blobs.List() {
			if err != nil {
				h.log.Error("payloads can't be looked through", "error", err)
				break
			}
			h.round = append(h.round, info.Key)
		}
	}
	if len(h.round) == 0 {
		return "", false
	}
	key := h.round[0]
	h.round = h.round[1:]
	return key, true
}

// look reads one payload and mends it when it is damaged.
func (h *healer) look(ctx context.Context, key blob.Key) {
	good, err := h.blobs.Check(ctx, key, h.now(), h.pace.WaitN)
	switch {
	case fault.Is(err, fault.NotFound), ctx.Err() != nil:
		return
	case err != nil:
		h.log.Error("a payload can't be checked", "payload", key, "error", err)
		return
	case good:
		h.log.Debug("a payload was read and is whole", "payload", key)
		return
	}
	p, needed := h.find(ctx, string(key))
	detail := "its bytes on the server's disk do not have its hash any more: it was set aside, nobody is given it"
	if needed {
		detail += fmt.Sprintf("; %s is fetched anew", name(p))
	}
	h.log.Error("a payload is damaged on the server's disk and was set aside; look at the disk", "payload", key, "name", p.Name, "fetched_anew", needed)
	h.told(ctx, string(key), detail)
	if needed {
		h.stage([]patch.Payload{p})
	}
}

func name(p patch.Payload) string {
	if p.Name != "" {
		return p.Name
	}
	return p.SHA256
}

// resume fetches what was set aside before a restart and is needed still.
func (h *healer) resume(ctx context.Context) {
	all, err := h.blobs.Aside()
	if err != nil {
		h.log.Error("damaged payloads can't be listed", "error", err)
	}
	for _, x := range all {
		if here, err := h.blobs.Has(x.Key); err != nil || here {
			continue
		}
		if p, needed := h.find(ctx, string(x.Key)); needed {
			h.stage([]patch.Payload{p})
		}
	}
}

// wanted finds the payload among the catalog's indexes and what open tasks plan
// with.
func (s *Server) wanted(ctx context.Context, sum string) (p patch.Payload, ok bool) {
	if p, ok = s.mirror.Index(sum); ok {
		return p, true
	}
	err := s.db.In(estate.Everything()).PlannedPayloads(ctx, func(plan *deploy.Plan) {
		for _, x := range plan.Payloads {
			if x.SHA256 == sum {
				p, ok = x, true
			}
		}
	})
	if err != nil {
		s.cfg.Log.Error("it can't be told whether a damaged payload is needed", "payload", sum, "error", err)
	}
	return p, ok
}

// damagedPayloads is what people see of them.
func (s *Server) damagedPayloads() []api.DamagedPayload {
	all, err := s.blobs.Aside()
	if err != nil {
		s.cfg.Log.Error("damaged payloads can't be listed", "error", err)
	}
	var out []api.DamagedPayload
	for _, x := range all {
		here, err := s.blobs.Has(x.Key)
		out = append(out, api.DamagedPayload{SHA256: string(x.Key), At: x.Used.UTC(), Mended: err == nil && here})
	}
	return out
}
