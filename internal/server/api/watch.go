package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// writeTimeout bounds how long a reader of a stream may stand still.
const writeTimeout = 30 * time.Second

// watch follows a deployment as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html): "task" with
// a Task for every task's present state and then for each change, without its
// history; "deployment" with a Deployment at the beginning and when its status
// changes. The stream ends after the deployment has.
func (a *API) watch(ctx context.Context, in *ByID) (*huma.StreamResponse, error) {
	d, err := a.withCounts(ctx, deploy.ID(in.ID))
	if err != nil {
		return nil, err
	}
	leave, err := a.watchers.enter(of(ctx).actor)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer leave()
		r, w := humago.Unwrap(hc)
		s := &stream{w: w, control: http.NewResponseController(w)}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the events back
		w.WriteHeader(http.StatusOK)
		f := follower{a: a, r: r, out: s, id: d.ID, told: map[deploy.TaskID]string{}, names: map[estate.EndpointID]string{}}
		if err := f.run(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errGone) {
			a.Log.Warn("a watched deployment could not be read", "deployment", d.ID, "error", err)
		}
	}}, nil
}

// watchers counts who watches.
type watchers struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by the actor's kind and id
}

// enter refuses (Exhausted) one reader too many.
func (w *watchers) enter(actor estate.Actor) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	who := actor.Kind + " " + actor.ID
	if w.all >= maxWatchers || w.of[who] >= maxWatchersOfOne {
		return nil, fault.New(fault.Exhausted, "%d deployments are being watched already, %d of them by %s", w.all, w.of[who], actor.Name).
			WithHint("close a window that watches one, or ask for the deployment now and then")
	}
	if w.of == nil {
		w.of = map[string]int{}
	}
	w.all++
	w.of[who]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all--
		if w.of[who]--; w.of[who] == 0 {
			delete(w.of, who)
		}
	}, nil
}

// stream writes server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// event writes one event at once.
func (s *stream) event(kind string, v any) error {
	var b bytes.Buffer
	b.WriteString("event: " + kind + "\ndata: ")
	if err := json.NewEncoder(&b).Encode(v); err != nil { // ends with a newline
		return fault.Wrap(err, fault.Internal, "api: an event can't be encoded")
	}
	b.WriteByte('\n')
	return s.write(b.Bytes())
}

func (s *stream) write(b []byte) error {
	// Not every writer has deadlines; the server's own then counts.
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := s.w.Write(b); err != nil {
		return errors.Join(errGone, err)
	}
	return s.control.Flush()
}

var errGone = errors.New("the reader is gone")

// follower tells one reader what changes.
type follower struct {
	a      *API
	r      *http.Request
	out    *stream
	id     deploy.ID
	told   map[deploy.TaskID]string
	names  map[estate.EndpointID]string
	status deploy.Status
	reason string
}

func (f *follower) run(ctx context.Context) error {
	beat := time.NewTicker(f.a.Heartbeat)
	defer beat.Stop()
	for {
		began := time.Now()
		done, err := f.look(ctx)
		if done || err != nil {
			return err
		}
		// A deployment that takes long to read is read less often.
		pause := time.NewTimer(max(f.a.Poll, 10*time.Since(began)))
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				pause.Stop()
				return nil
			case <-beat.C:
				if !f.mayStill(of(ctx).scope) {
					pause.Stop()
					return nil
				}
				if err := f.out.write([]byte(": alive\n\n")); err != nil {
					pause.Stop()
					return err
				}
			case <-pause.C:
				waiting = false
			}
		}
	}
}

// mayStill asks again for the reader's right, as every other request does: it
// may have been taken away, and the account with it.
func (f *follower) mayStill(where estate.Scope) bool {
	actor, err := f.a.Auth.Still(f.r)
	if fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Denied) {
		return false
	}
	return err != nil || actor.Can(estate.Read, where) // a store that is away for a moment takes nothing away
}

// look tells what changed since the last look. The deployment is read before
// its tasks, so that its end is told after everything that led to it.
func (f *follower) look(ctx context.Context) (done bool, err error) {
	d, err := f.a.withCounts(ctx, f.id)
	if err != nil {
		return false, err
	}
	data := f.a.Data(of(ctx).scope)
	open := 0
	for after := ""; ; {
		list, next, err := data.Tasks(ctx, deploy.TaskFilter{Deployment: f.id, After: after, Limit: 1000})
		if err != nil {
			return false, err
		}
		for _, t := range list {
			if !t.State.Ended() {
				open++
			}
		}
		if err := f.tell(ctx, list); err != nil {
			return false, err
		}
		if next == "" {
			break
		}
		after = next
	}
	if d.Status != f.status || d.Reason != f.reason {
		f.status, f.reason = d.Status, d.Reason
		if err := f.out.event("deployment", d); err != nil {
			return false, err
		}
	}
	return d.Status == deploy.Finished || d.Status == deploy.Cancelled && open == 0, nil
}

func (f *follower) tell(ctx context.Context, list []deploy.Task) error {
	changed := list[:0]
	for _, t := range list {
		t.History = nil
		b, err := json.Marshal(t)
		if err != nil {
			return fault.Wrap(err, fault.Internal, "api: a task can't be encoded")
		}
		if sum := digest(b); f.told[t.ID] != sum {
			f.told[t.ID] = sum
			changed = append(changed, t)
		}
	}
	named, err := f.a.named(ctx, changed, f.names)
	if err != nil {
		return err
	}
	for _, t := range named {
		if err := f.out.event("task", t); err != nil {
			return err
		}
	}
	return nil
}
