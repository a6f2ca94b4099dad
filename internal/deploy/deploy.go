// Package deploy holds deployments, rings, tasks, orders and results, and the
// state machine that moves them: Advance takes what is and the time, and gives
// what to do. It is pure; orchestrate (server) and journal (agent) act.
package deploy

import (
	"cmp"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/window"
)

// ID identifies a deployment.
type ID string

// TaskID identifies the work of one deployment on one endpoint.
type TaskID string

// Status is where a deployment as a whole stands.
type Status string

// The statuses of a deployment.
const (
	Running   Status = "running"
	Halted    Status = "halted" // by a person, the failure rate or the blast-radius breaker
	Finished  Status = "finished"
	Cancelled Status = "cancelled"
)

// Deployment installs approved patches on endpoints, or takes patches back,
// ring after ring.
type Deployment struct {
	ID        ID              `json:"id"`
	Tenant    estate.TenantID `json:"tenant"`
	Name      string          `json:"name"`
	Created   time.Time       `json:"created"`
	CreatedBy string          `json:"created_by"`
	// Operation says what is done with the patches; empty is Install.
	Operation Operation `json:"operation,omitempty"`
	// Cause is why a person asked for a rollback.
	Cause string `json:"cause,omitempty"`
	// Patches are what to install, in the order that the catalog resolved.
	// Each task takes those of them that its endpoint lacks; a rollback those
	// that it has, and the endpoint goes through them from the last to the first.
	Patches  []patch.ID      `json:"patches"`
	Rings    []Ring          `json:"rings"`
	Schedule window.Schedule `json:"schedule"`
	Policy   Policy          `json:"policy"`
	// DryRun plans on every endpoint and installs nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// Emergency ignores windows, never approvals or freezes' owners' limits.
	Emergency bool   `json:"emergency,omitempty"`
	Status    Status `json:"status"`
	Reason    string `json:"reason,omitempty"` // why halted or cancelled
	// Resumed is when somebody last let a halted deployment go on.
	Resumed  time.Time `json:"resumed,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
}

// Operation is what a deployment does with its patches.
type Operation string

// The operations.
const (
	Install Operation = "" // the patches are to be installed
	// Rollback takes them back: the product is uninstalled and, where the
	// patch names one that it restores, that one installed again. Agents do
	// only what the signed manifest says, and their machine's policy may refuse.
	Rollback Operation = "rollback"
)

// Ring is a set of endpoints that go together, and the gate to the next ring.
type Ring struct {
	Name      string              `json:"name"`
	Endpoints []estate.EndpointID `json:"endpoints"`
	Gate      Gate                `json:"gate"`
}

// Gate must hold before the next ring starts.
type Gate struct {
	// SuccessPercent of the ring's tasks must be verified (0 to 100).
	SuccessPercent int `json:"success_percent,omitempty"`
	// Soak is how long the ring rests after its last task ended.
	Soak window.Duration `json:"soak,omitzero"`
}

// RebootPolicy says what may happen when a reboot is due.
type RebootPolicy string

// The reboot policies.
const (
	RebootNever RebootPolicy = "never"  // report it, stay in waiting_reboot until someone reboots
	RebootIfDue RebootPolicy = "if_due" // in the reboot window
)

// Conffile says how a changed configuration file is treated; nobody is asked.
type Conffile string

// The conffile policies (dpkg --force-confold, --force-confnew).
const (
	KeepOld Conffile = "keep"
	TakeNew Conffile = "replace"
)

// Policy holds the knobs of a deployment. Zero values mean the defaults that
// DefaultPolicy gives.
type Policy struct {
	Reboot   RebootPolicy `json:"reboot"`
	Conffile Conffile     `json:"conffile"`
	// Attempts is how often a task is tried in all.
	Attempts int `json:"attempts"`
	// RetryAfter is the pause before the second attempt; it doubles.
	RetryAfter window.Duration `json:"retry_after"`
	// TaskTimeout bounds one installation on the endpoint.
	TaskTimeout window.Duration `json:"task_timeout"`
	// OfflineAfter is how long a task may hear nothing from its endpoint
	// before it counts as a lost heartbeat.
	OfflineAfter window.Duration `json:"offline_after"`
	// MaxFailedPercent halts the deployment when more than this share of
	// the ended tasks failed (and at least two did).
	MaxFailedPercent int `json:"max_failed_percent"`
	// BlastPercentPerHour limits how many of a tenant's endpoints may start
	// installing within any hour; BlastFloor of them always may.
	BlastPercentPerHour int `json:"blast_percent_per_hour"`
	// ExpireAfter ends a task that has not ended by then, such as one whose
	// machine never came back.
	ExpireAfter window.Duration `json:"expire_after"`
	// RestartServices restarts services that run replaced files.
	RestartServices bool `json:"restart_services"`
}

// BlastFloor is the number of endpoints that may start within an hour however
// small the share is, so that small fleets are not held up.
const BlastFloor = 5

// DefaultPolicy is what a deployment gets where nobody said otherwise.
func DefaultPolicy() Policy {
	return Policy{
		Reboot: RebootNever, Conffile: KeepOld, Attempts: 3,
		RetryAfter: window.Duration(10 * time.Minute), TaskTimeout: window.Duration(time.Hour),
		OfflineAfter: window.Duration(30 * time.Minute), ExpireAfter: window.Duration(14 * 24 * time.Hour),
		MaxFailedPercent: 20, BlastPercentPerHour: 25, RestartServices: true,
	}
}

// Filled returns the policy with defaults in place of zero values.
// RestartServices stays as it is: false is a choice.
func (p Policy) Filled() Policy {
	d := DefaultPolicy()
	d.RestartServices = p.RestartServices
	d.Reboot = cmp.Or(p.Reboot, d.Reboot)
	d.Conffile = cmp.Or(p.Conffile, d.Conffile)
	d.Attempts = cmp.Or(p.Attempts, d.Attempts)
	d.RetryAfter = cmp.Or(p.RetryAfter, d.RetryAfter)
	d.TaskTimeout = cmp.Or(p.TaskTimeout, d.TaskTimeout)
	d.OfflineAfter = cmp.Or(p.OfflineAfter, d.OfflineAfter)
	d.ExpireAfter = cmp.Or(p.ExpireAfter, d.ExpireAfter)
	d.MaxFailedPercent = cmp.Or(p.MaxFailedPercent, d.MaxFailedPercent)
	d.BlastPercentPerHour = cmp.Or(p.BlastPercentPerHour, d.BlastPercentPerHour)
	return d
}

// State is where a task stands; the words are those that people see.
type State string

// The states of a task.
const (
	Queued        State = "queued"
	AwaitApproval State = "awaiting_approval"
	Scheduled     State = "scheduled" // approved; its ring or the breaker has not let it go yet
	Planning      State = "planning"  // the endpoint computes the exact transaction
	Planned       State = "planned"   // dry run: ends here
	Staging       State = "staging"   // payloads come to the server
	Downloading   State = "downloading"
	Staged        State = "staged" // all bytes are on the endpoint
	WaitingWindow State = "waiting_for_window"
	WaitingUser   State = "waiting_for_user"
	Waking        State = "waking"
	Installing    State = "installing"
	WaitingReboot State = "waiting_for_reboot"
	Rebooting     State = "rebooting"
	Verifying     State = "verifying"
	Verified      State = "verified"
	Failed        State = "failed"
	RetryPlanned  State = "retry_planned"
	NotApplicable State = "no_longer_applicable"
	TaskCancelled State = "cancelled"
	Expired       State = "expired"
)

// Ended reports whether the state is final.
func (s State) Ended() bool {
	switch s {
	case Planned, Verified, Failed, NotApplicable, TaskCancelled, Expired:
		return true
	}
	return false
}

// Task is the work of one deployment on one endpoint.
type Task struct {
	ID         TaskID            `json:"id"`
	Deployment ID                `json:"deployment"`
	Tenant     estate.TenantID   `json:"tenant"`
	Endpoint   estate.EndpointID `json:"endpoint"`
	Ring       int               `json:"ring"`
	// Operation is the deployment's.
	Operation Operation  `json:"operation,omitempty"`
	Patches   []PatchRef `json:"patches"`
	// Restores names, for a rollback, what comes back.
	Restores []Restoration `json:"restores,omitempty"`
	// DryRun ends with the plan.
	DryRun bool  `json:"dry_run,omitempty"`
	State  State `json:"state"`
	// Reason says in words why the task is where it is.
	Reason  string    `json:"reason,omitempty"`
	Attempt int       `json:"attempt"` // 1 for the first
	Created time.Time `json:"created"`
	// Since is when the current state began.
	Since time.Time `json:"since"`
	// NotBefore holds a retry back.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Heard is when the endpoint last said something about the task.
	Heard time.Time `json:"heard,omitzero"`
	Plan  *Plan     `json:"plan,omitempty"`
	// Result of the last attempt.
	Result *Result `json:"result,omitempty"`
	// Verdicts are what the last scan that was made for the task said of each
	// of its patches.
	Verdicts []PatchVerdict `json:"verdicts,omitempty"`
	// History keeps every change of state.
	History []Step `json:"history,omitempty"`
	// Progress of a download or installation, 0 to 100.
	Progress int `json:"progress,omitempty"`
}

// PatchRef names a patch and the digest of its signed record, so that server
// and agent can't mean different content.
type PatchRef struct {
	ID     patch.ID `json:"id"`
	Digest string   `json:"digest"` // SHA-256 of the record in the shard, hex
}

// Step is one change of state.
type Step struct {
	State  State     `json:"state"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Plan is the exact transaction that the endpoint's package manager would
// make; dry runs show it, staging takes its payloads.
type Plan struct {
	Changes []Change `json:"changes"`
	// Refused names patches that can't be installed and why (a hold, a pin,
	// an unmet dependency).
	Refused []Refusal `json:"refused,omitempty"`
	// Payloads are every file that the transaction needs.
	Payloads      []patch.Payload `json:"payloads"`
	DownloadBytes int64           `json:"download_bytes"`
	// DiskBytes is what the installation needs beyond what is there now.
	DiskBytes int64 `json:"disk_bytes,omitempty"`
}

// Change is one package of a transaction.
type Change struct {
	Package string `json:"package"`
	Arch    string `json:"arch,omitempty"`
	From    string `json:"from,omitempty"` // empty when newly installed
	To      string `json:"to,omitempty"`   // empty when removed
	// Why is "approved", "new dependency" or "removed by <package>".
	Why string `json:"why"`
}

// Refusal is a patch that was left out.
type Refusal struct {
	Patch  patch.ID `json:"patch"`
	Reason string   `json:"reason"`
}

// Result is what an attempt did on the endpoint.
type Result struct {
	Attempt  int         `json:"attempt"`
	Started  time.Time   `json:"started"`
	Ended    time.Time   `json:"ended,omitzero"`
	Changes  []Change    `json:"changes,omitempty"`
	Failures []ItemError `json:"failures,omitempty"`
	// Refused carries over what the plan left out.
	Refused     []Refusal `json:"refused,omitempty"`
	ExitCode    int       `json:"exit_code"`
	RebootDue   bool      `json:"reboot_due,omitempty"`
	RestartsDue []string  `json:"restarts_due,omitempty"`
	Restarted   []string  `json:"restarted,omitempty"`
	// Output is the tail of the package manager's output, at most 64 KiB.
	Output string `json:"output,omitempty"`
}

// ItemError is the true reason why one package failed.
type ItemError struct {
	Package string `json:"package"`
	Version string `json:"version,omitempty"`
	Reason  string `json:"reason"`
}

// PatchVerdict is a fresh scan's answer about one patch.
type PatchVerdict struct {
	Patch     patch.ID `json:"patch"`
	Installed bool     `json:"installed"`
	Reason    string   `json:"reason"`
}
