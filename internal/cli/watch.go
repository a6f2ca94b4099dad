package cli

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

// watch follows a deployment over server-sent events, prints each change of
// state as it happens, and ends with the tasks. It fails (exit code 1) when a
// task did.
func (o *options) watch(cmd *cobra.Command, c *client, id deploy.ID) error {
	if err := o.follow(cmd, c, id); err != nil {
		return err
	}
	var d deployment
	if err := c.call(cmd.Context(), http.MethodGet, c.tenantPath("deployments", string(id)), nil, nil, &d); err != nil {
		return err
	}
	tasks, err := all[task](cmd.Context(), c, c.tenantPath("deployments", string(id), "tasks"), nil)
	if err != nil {
		return err
	}
	if o.json {
		if err := o.printJSON(map[string]any{"deployment": d, "tasks": tasks}); err != nil {
			return err
		}
	} else {
		o.say("\n%s", headline(d))
		if err := o.listTasks(tasks); err != nil {
			return err
		}
	}
	for _, t := range tasks {
		if t.State == deploy.Failed || t.State == deploy.Expired {
			return quiet(ExitFailed)
		}
	}
	return nil
}

// follow reads the event stream until the deployment ends. A lost connection
// is taken up again; the stream begins with every task's present state.
func (o *options) follow(cmd *cobra.Command, c *client, id deploy.ID) error {
	seen := map[deploy.TaskID]string{}
	for range 100 {
		done, err := o.stream(cmd, c, id, seen)
		if done {
			return nil
		}
		if stopped := cmd.Context().Err(); stopped != nil {
			return goesOn(stopped, id)
		}
		if err != nil && !fault.Is(err, fault.Unavailable) {
			return err
		}
		select {
		case <-cmd.Context().Done():
			return goesOn(cmd.Context().Err(), id)
		case <-time.After(2 * time.Second):
		}
	}
	return fault.New(fault.Unavailable, "the server can't be reached; the deployment goes on without this window").
		WithHint("'fettle deployments %s' shows where it stands", id)
}

// goesOn tells a person who stops watching that only the watching stops.
func goesOn(cause error, id deploy.ID) error {
	return fault.Wrap(cause, fault.Cancelled, "stopped watching; the deployment goes on").
		WithHint("'fettle deployments watch %s' looks again, 'fettle deployments cancel %s' ends it", id, id)
}

func (o *options) stream(cmd *cobra.Command, c *client, id deploy.ID, seen map[deploy.TaskID]string) (done bool, err error) {
	endless := *c
	endless.http = &http.Client{Transport: c.http.Transport}
	resp, err := endless.open(cmd.Context(), http.MethodGet, c.tenantPath("deployments", string(id), "watch"), nil, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, 8<<20)
	kind := ""
	for sc.Scan() {
		line := sc.Text()
		if rest, ok := strings.CutPrefix(line, "event:"); ok {
			kind = strings.TrimSpace(rest)
			continue
		}
		body, ok := strings.CutPrefix(line, "data:")
		if !ok {
			continue
		}
		if kind == "deployment" {
			var d deploy.Deployment
			if json.Unmarshal([]byte(body), &d) == nil && (d.Status == deploy.Finished || !d.Finished.IsZero()) {
				return true, nil
			}
			continue
		}
		var t task
		if json.Unmarshal([]byte(body), &t) == nil && t.ID != "" {
			o.step(t, seen)
		}
	}
	return false, sc.Err()
}

// step prints a change of state or of its reason once.
func (o *options) step(t task, seen map[deploy.TaskID]string) {
	now := string(t.State) + t.Reason
	if seen[t.ID] == now {
		return
	}
	seen[t.ID] = now
	o.say("%s  %-20s %-20s %s", time.Now().Format(time.TimeOnly), t.Hostname, t.State, t.Reason)
}
