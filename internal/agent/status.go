package agent

import (
	"time"

	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// Status is what `fettle-agent status` shows.
type Status struct {
	Server   string            `json:"server"`
	Endpoint estate.EndpointID `json:"endpoint"`
	Tenant   estate.TenantID   `json:"tenant,omitempty"`
	Site     estate.SiteID     `json:"site,omitempty"`
	// Contact is the last check-in that worked, Tried the last one at all.
	Contact time.Time `json:"contact,omitzero"`
	Tried   time.Time `json:"tried,omitzero"`
	// Error is why the last check-in failed; empty when it worked.
	Error   string    `json:"error,omitempty"`
	Scanned time.Time `json:"scanned,omitzero"`
	Catalog int64     `json:"catalog,omitempty"`
	Problem string    `json:"problem,omitempty"`
	// Waiting counts events that the server has not acknowledged.
	Waiting int          `json:"waiting"`
	Tasks   []TaskStatus `json:"tasks"`
}

// TaskStatus is one task in the journal.
type TaskStatus struct {
	Task    deploy.TaskID `json:"task"`
	Attempt int           `json:"attempt"`
	Action  string        `json:"action"`
	Step    journal.Step  `json:"step"`
	Since   time.Time     `json:"since"`
}

// note keeps the outcome of a check-in for ReadStatus.
func (a *Agent) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now().UTC()
	a.status.Tried, a.status.Error = now, ""
	if err != nil {
		a.status.Error = fault.Public(err)
	} else {
		a.status.Contact = now
	}
	a.status.Scanned, a.status.Catalog, a.status.Problem = a.summary.Scanned, a.catalog, a.problems()
	if err := writeJSON(a.cfg.State.status(), a.status); err != nil {
		a.log.Warn("status not kept", "error", err)
	}
}

// ReadStatus tells how the agent with this state folder is, whether it runs or
// not. fault.NotFound before enrolment.
func ReadStatus(d Dir) (Status, error) {
	s, err := d.Settings()
	if err != nil {
		return Status{}, err
	}
	var st Status
	if err := readJSON(d.status(), &st); err != nil && !fault.Is(err, fault.NotFound) {
		return Status{}, err
	}
	st.Server, st.Endpoint, st.Tenant, st.Site = s.Server, s.Endpoint, s.Tenant, s.Site
	entries, events, err := journal.Read(d.journal())
	if err != nil {
		return Status{}, err
	}
	st.Waiting, st.Tasks = len(events), []TaskStatus{}
	for _, e := range entries {
		st.Tasks = append(st.Tasks, TaskStatus{Task: e.Task, Attempt: e.Attempt, Action: string(e.Order.Action), Step: e.Step, Since: e.Since})
	}
	return st, nil
}
