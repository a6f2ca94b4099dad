// Package order is what tests and the aptdriver command say to each other.
package order

import (
	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// The steps that the driver can do.
const (
	Look    = "look" // take the inventory
	Plan    = "plan"
	Install = "install"
	Recover = "recover"
)

// Request is what the driver reads.
type Request struct {
	Step     string            `json:"step"`
	Task     deploy.TaskID     `json:"task"`
	Attempt  int               `json:"attempt"`
	Patches  []patch.Patch     `json:"patches,omitempty"`
	Archives []catalog.Archive `json:"archives,omitempty"`
	Conffile deploy.Conffile   `json:"conffile,omitempty"`
	// UpAt is a file that ends the job's time when it is there, or a line of
	// progress that does; "" leaves the time to the installer. So a test decides
	// at which moment the time is up, and not how fast the machine is.
	UpAt string `json:"up_at,omitempty"`
	// Payloads is the folder to fetch from (xx/hash), Store the machine's own.
	Payloads string `json:"payloads,omitempty"`
	Store    string `json:"store,omitempty"`
	Dir      string `json:"dir,omitempty"`
	// Careless takes payloads with a wrong hash: then apt alone stands guard.
	Careless bool `json:"careless,omitempty"`
	// Log is a file on the machine that gets all lines too.
	Log string `json:"log,omitempty"`
	// PauseAt is a payload at which the driver makes Paused and waits for GoOn.
	PauseAt string `json:"pause_at,omitempty"`
}

// Files by which a test and the driver agree on a moment.
const (
	Paused = "/run/aptdriver.paused"
	GoOn   = "/run/aptdriver.goon"
)

// Line is one line of the driver's output: progress, or the reply.
type Line struct {
	Progress *install.Progress `json:"progress,omitempty"`
	Reply    *Reply            `json:"reply,omitempty"`
}

// Reply is what a step came to.
type Reply struct {
	Snapshot *inventory.Snapshot `json:"snapshot,omitempty"`
	Plan     *deploy.Plan        `json:"plan,omitempty"`
	Result   *deploy.Result      `json:"result,omitempty"`
	Done     bool                `json:"done,omitempty"`
	Fault    *fault.Error        `json:"fault,omitempty"`
	Private  string              `json:"private,omitempty"`
	Seconds  float64             `json:"seconds"`
}
