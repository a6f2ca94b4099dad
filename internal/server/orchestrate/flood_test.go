package orchestrate_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/server/orchestrate"
	"github.com/fettlehq/fettle/internal/wire"
)

// counted is the real store; it counts how often a deployment is read.
type counted struct {
	orchestrate.Store
	reads int
}

func (c *counted) Deployment(ctx context.Context, tenant estate.TenantID, id deploy.ID) (deploy.Deployment, error) {
	c.reads++
	return c.Store.Deployment(ctx, tenant, id)
}

// TestTrustRow6ManyEvents: while one agent is heard all deployments wait. What
// it says is not to cost a look-up and a line of the log for each event.
func TestTrustRow6ManyEvents(t *testing.T) {
	w := newWorld(t)
	w.deployment("d1", deploy.Installing, "web1")
	w.deployment("d2", deploy.Installing, "web1")
	store := &counted{Store: w.db.Orchestration()}
	w.loop = orchestrate.New(store, w, w, w, slog.New(slog.NewTextHandler(&w.log, nil)), w.clock)
	var events []wire.Event
	for i := range wire.MaxBatch / 2 {
		for _, d := range []string{"d1", "d2"} {
			events = append(events, wire.Event{Seq: int64(len(events) + 1), Task: deploy.TaskID(d + "-web1"), Attempt: 1, State: deploy.Installing, Progress: 7})
			if i%2 == 1 {
				events[len(events)-1].Attempt = 9 // which it is not at
			}
		}
	}
	w.hear("acme", "web1", events...)
	if store.reads > 4 {
		t.Errorf("%d events read a deployment %d times", len(events), store.reads)
	}
	if lines := strings.Count(w.log.String(), "\n"); lines > 2 {
		t.Errorf("%d lines of the log", lines)
	}
	for _, d := range []string{"d1", "d2"} {
		if got := w.task(deploy.TaskID(d + "-web1")); got.State != deploy.Installing || got.Progress != 7 {
			t.Error(fmt.Sprint(got))
		}
	}
}
