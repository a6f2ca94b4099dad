package gateway

import (
	"net/http"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// events takes what happened to the peer's own tasks, each number once. A
// batch that names another endpoint's task is refused whole and audited. The
// number is kept after the events have been heard: a crash in between makes
// the agent send them again, which Orders.Hear bears.
func (g *Gateway) events(w http.ResponseWriter, r *http.Request, p peer) error {
	var m wire.Events
	if err := read(r, &m); err != nil {
		return err
	}
	if _, err := g.standing(r, p); err != nil {
		return err
	}
	if err := checkEvents(m.Events); err != nil {
		return err
	}
	if err := g.checkOwner(r, p, m.Events); err != nil {
		return err
	}
	ack, err := g.cfg.Store.EventSeq(r.Context(), p.tenant, p.endpoint)
	if err != nil {
		return err
	}
	fresh := m.Events
	for len(fresh) > 0 && fresh[0].Seq <= ack {
		fresh = fresh[1:]
	}
	if len(fresh) == 0 {
		return reply(w, wire.EventsReply{Seq: ack})
	}
	if err := g.doubts(r, p, fresh); err != nil {
		return err
	}
	if err := g.cfg.Orders.Hear(r.Context(), p.tenant, p.endpoint, fresh); err != nil {
		return err
	}
	ack = fresh[len(fresh)-1].Seq
	if err := g.cfg.Store.SetEventSeq(r.Context(), p.tenant, p.endpoint, ack); err != nil {
		return err
	}
	return reply(w, wire.EventsReply{Seq: ack})
}

// checkEvents wants rising numbers and task ids of sane length, not too many.
func checkEvents(all []wire.Event) error {
	if len(all) > wire.MaxBatch {
		return fault.New(fault.Invalid, "the message has %d events, at most %d are taken at once", len(all), wire.MaxBatch)
	}
	last := int64(0)
	for _, e := range all {
		if e.Seq <= last {
			return fault.New(fault.Invalid, "event numbers must rise from 1")
		}
		if e.Task == "" || len(e.Task) > 200 {
			return fault.New(fault.Invalid, "event %d names no task", e.Seq)
		}
		last = e.Seq
	}
	return nil
}

func (g *Gateway) checkOwner(r *http.Request, p peer, all []wire.Event) error {
	seen := map[deploy.TaskID]bool{}
	ids := []deploy.TaskID{}
	for _, e := range all {
		if !seen[e.Task] {
			seen[e.Task] = true
			ids = append(ids, e.Task)
		}
	}
	own, err := g.cfg.Store.OwnTasks(r.Context(), p.tenant, p.endpoint, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if own[id] {
			continue
		}
		if g.noted.Within(string(p.endpoint)+"foreign task", g.cfg.Now(), time.Minute) {
			g.cfg.Witness.Audit(r.Context(), p.tenant, "agent:"+string(p.endpoint), "endpoint.foreign_task", string(p.endpoint),
				"reported about a task that is not its own; refused")
		}
		return fault.New(fault.Denied, "a task in the batch does not belong to this endpoint")
	}
	return nil
}

// maxDoubts bounds the payloads that one message may call damaged: an agent
// stops at the first.
const maxDoubts = 8

// doubts passes on which payloads came damaged, of those that the peer may have.
func (g *Gateway) doubts(r *http.Request, p peer, all []wire.Event) error {
	told := map[string]bool{}
	for _, e := range all {
		if !isHash(e.Damaged) || told[e.Damaged] || len(told) == maxDoubts {
			continue
		}
		told[e.Damaged] = true
		_, err := g.mayHave(r, p, e.Damaged)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		g.cfg.Doubt(e.Damaged)
	}
	return nil
}
