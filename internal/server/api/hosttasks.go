package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
)

type hostTasksIn struct {
	ByID
	Paging
	LeftOut bool `query:"left_out" doc:"Only those in which the machine left patches out"`
}

// mostTasks bounds how many tasks of one machine are looked at.
const mostTasks = 5000

// hostTasks lists a machine's tasks, the newest first. The store's order is
// another one, so all of them are read; a machine has few.
func (a *API) hostTasks(ctx context.Context, in *hostTasksIn) (*listed[Task], error) {
	e, err := a.endpoint(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	var all []deploy.Task
	for after := ""; ; {
		list, next, err := a.Data(of(ctx).scope).Tasks(ctx, deploy.TaskFilter{Endpoint: e.ID, After: after, Limit: 1000})
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if after = next; after == "" || len(all) >= mostTasks {
			break
		}
	}
	slices.SortFunc(all, func(a, b deploy.Task) int { return cmp.Compare(newestFirst(a), newestFirst(b)) })
	page, err := cut(all, func(t deploy.Task) bool { return !in.LeftOut || leftOut(t, "") }, in.Paging, newestFirst)
	if err != nil {
		return nil, err
	}
	out, err := a.named(ctx, page.Body.Items, map[estate.EndpointID]string{e.ID: e.Hostname})
	return pageOf(out, page.Body.Next), err
}

// newestFirst is a key that sorts tasks so.
func newestFirst(t deploy.Task) string {
	return fmt.Sprintf("%019d %s", math.MaxInt64-t.Created.UnixNano(), t.ID)
}
