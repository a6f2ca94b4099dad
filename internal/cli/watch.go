package cli

import (
	"bufio"
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/terminal"
)

// watch follows a deployment over server-sent events, prints each change of
// state as it happens, and ends with the tasks. It also ends when all that is
// left waits for a reboot that the deployment leaves to people. It fails (exit
// code 1) when a task did.
func (o *options) watch(cmd *cobra.Command, c *client, id deploy.ID) error {
	d, tasks, err := deploymentNow(cmd, c, id)
	if err != nil {
		return err
	}
	w := &watcher{o: o, printed: map[deploy.TaskID]string{}, last: map[deploy.TaskID]deploy.State{}, manual: d.Policy.Reboot != deploy.RebootIfDue}
	for _, t := range tasks {
		w.last[t.ID] = t.State
	}
	if err := w.follow(cmd, c, id); err != nil {
		return err
	}
	if d, tasks, err = deploymentNow(cmd, c, id); err != nil {
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
	if n := w.waiting(); n > 0 && d.Finished.IsZero() {
		o.say("%d machines wait for a reboot that this deployment leaves to you; they go on by themselves after it ('fettle deployments watch %s').", n, id)
	}
	for _, t := range tasks {
		if t.State == deploy.Failed || t.State == deploy.Expired {
			return terminal.Exit(fault.ExitFailed)
		}
	}
	return nil
}

func deploymentNow(cmd *cobra.Command, c *client, id deploy.ID) (d deployment, tasks []task, err error) {
	if err := c.call(cmd.Context(), http.MethodGet, c.tenantPath("deployments", string(id)), nil, nil, &d); err != nil {
		return d, nil, err
	}
	tasks, err = all[task](cmd.Context(), c, c.tenantPath("deployments", string(id), "tasks"), nil)
	return d, tasks, err
}

// watcher follows one deployment.
type watcher struct {
	o       *options
	printed map[deploy.TaskID]string
	last    map[deploy.TaskID]deploy.State
	manual  bool // reboots are left to people
}

// waiting counts the tasks that wait for somebody to reboot their machine, 0
// unless everything else has ended.
func (w *watcher) waiting() int {
	n := 0
	for _, s := range w.last {
		switch {
		case s == deploy.WaitingReboot && w.manual:
			n++
		case !s.Ended():
			return 0
		}
	}
	return n
}

// follow reads the event stream until the deployment ends. A lost connection
// is taken up again; the stream begins with every task's present state.
func (w *watcher) follow(cmd *cobra.Command, c *client, id deploy.ID) error {
	for range 100 {
		done, err := w.stream(cmd, c, id)
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

func (w *watcher) stream(cmd *cobra.Command, c *client, id deploy.ID) (done bool, err error) {
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
			w.step(t)
		}
		if w.waiting() > 0 {
			return true, nil
		}
	}
	return false, sc.Err()
}

// step prints a change of state or of its reason once.
func (w *watcher) step(t task) {
	now := string(t.State) + t.Reason
	w.last[t.ID] = t.State
	at := time.Now()
	switch w.printed[t.ID] {
	case now:
		return
	case "": // where it stood when the watching began
		at = cmp.Or(t.Since, at)
	}
	w.printed[t.ID] = now
	w.o.say("%s  %-20s %-20s %s", at.Local().Format(time.TimeOnly), terminal.Plain(t.Hostname), t.State, terminal.Plain(t.Reason))
}
