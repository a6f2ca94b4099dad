// Package wire holds the messages between agent, relay and server.
//
// Transport: HTTP/2 over TLS 1.3; every route but enrolment demands the
// agent's client certificate. Bodies are JSON; inventory sections and catalog
// shards travel zstd-compressed. Agents only dial out.
//
// Protocol history:
//
//	1  2026-11-21  first version
//	2  2026-11-22  inventories may have the section "answers"
package wire

import (
	"encoding/json"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Protocol is the version that this build speaks. A server answers older
// agents as long as it can and refuses unknown ones with a clear fault.
const Protocol = 2

// Routes of the gateway. {path} and {sha256} are path parameters.
const (
	PathEnroll  = "/agent/v1/enroll"   // POST EnrollRequest -> EnrollReply; token, no client certificate
	PathRenew   = "/agent/v1/renew"    // POST RenewRequest -> RenewReply
	PathCheckIn = "/agent/v1/checkin"  // POST CheckIn -> CheckInReply
	PathSection = "/agent/v1/sections" // PUT Sections (zstd) -> 204
	PathEvents  = "/agent/v1/events"   // POST Events -> EventsReply
	PathWake    = "/agent/v1/wake"     // GET -> stream of Wake, one JSON object a line
	PathRepo    = "/agent/v1/repo/"    // GET + path: the mirrored signed repository, file by file
	PathBlob    = "/agent/v1/blobs/"   // GET + sha256: a payload; supports Range
)

// Limits of messages in bytes; larger ones are refused before parsing.
const (
	MaxEnroll   = 32 << 10
	MaxCheckIn  = 64 << 10
	MaxSections = 32 << 20 // compressed; each section is bounded after decompression
	MaxEvents   = 4 << 20  // a plan of 8,000 packages fits
)

// MaxBatch bounds the events of one message.
const MaxBatch = 256

// EnrollRequest asks for an identity.
type EnrollRequest struct {
	Protocol     int    `json:"protocol"`
	Token        string `json:"token"`
	CSR          []byte `json:"csr"` // DER; only its public key is taken
	Hostname     string `json:"hostname"`
	Platform     string `json:"platform"`
	OS           string `json:"os"`
	AgentVersion string `json:"agent_version"`
}

// EnrollReply carries the identity.
type EnrollReply struct {
	Endpoint    estate.EndpointID `json:"endpoint"`
	Tenant      estate.TenantID   `json:"tenant"`
	Site        estate.SiteID     `json:"site"`
	Certificate []byte            `json:"certificate"` // DER
	CA          []byte            `json:"ca"`          // DER
	// Root is the repository's initial root metadata (TUF). The agent checks
	// it against the fingerprint of the enrolment command.
	Root []byte `json:"root"`
}

// RenewRequest asks for a new certificate for the same identity.
type RenewRequest struct {
	CSR []byte `json:"csr"`
}

// RenewReply carries it.
type RenewReply struct {
	Certificate []byte `json:"certificate"`
	CA          []byte `json:"ca"`
}

// CheckIn is what an agent says at each contact. An unchanged machine sends
// the root hash and nothing else.
type CheckIn struct {
	Protocol int `json:"protocol"`
	// Root is inventory.Root over the sections of the last scan; empty
	// before the first scan.
	Root string `json:"root,omitempty"`
	// Sections holds the hashes (no bodies), sent when the server asked
	// for them or when the root changed since the last accepted check-in.
	Sections []inventory.Section `json:"sections,omitempty"`
	// Scanned is when the snapshot was taken.
	Scanned time.Time `json:"scanned,omitzero"`
	// Catalog is the version of the catalog that the agent has verified.
	Catalog      int64  `json:"catalog,omitempty"`
	AgentVersion string `json:"agent_version,omitempty"`
	BootID       string `json:"boot_id,omitempty"`
	// Problem tells what keeps the agent from its work: a catalog it
	// refused, a full disk. Empty when all is well.
	Problem string `json:"problem,omitempty"`
	// Now is the agent's clock, for skew.
	Now time.Time `json:"now"`
}

// CheckInReply is the server's answer.
type CheckInReply struct {
	// WantHashes asks for section hashes with the next check-in, made at once.
	WantHashes bool `json:"want_hashes,omitempty"`
	// Want names the sections whose bodies the server lacks.
	Want []inventory.SectionName `json:"want,omitempty"`
	// Orders are what the agent is to do, oldest first. An order that is
	// sent again is the same order (same Task, Attempt and Action).
	Orders []Order `json:"orders,omitempty"`
	// Next is when to check in again unless woken, in seconds.
	Next int `json:"next"`
	// Scan asks for a fresh scan before the next check-in.
	Scan bool `json:"scan,omitempty"`
	// Catalog is the newest version that the server has.
	Catalog int64     `json:"catalog,omitempty"`
	Now     time.Time `json:"now"`
}

// Sections carries the bodies that the server wanted. It travels as zstd.
type Sections struct {
	Root     string              `json:"root"`
	Scanned  time.Time           `json:"scanned"`
	Sections []inventory.Section `json:"sections"`
}

// Action is what an order asks for.
type Action string

// The actions.
const (
	ActPlan     Action = "plan"     // simulate, report deploy.Plan
	ActDownload Action = "download" // bring the plan's payloads onto the machine
	ActInstall  Action = "install"
	ActReboot   Action = "reboot"
	ActVerify   Action = "verify" // scan and report
	ActCancel   Action = "cancel" // stop if nothing irreversible has begun
)

// Order tells an agent to do one step of a task. It names patches; it can't
// carry commands, arguments or file hashes: those stand in the signed catalog.
type Order struct {
	Task    deploy.TaskID `json:"task"`
	Attempt int           `json:"attempt"`
	Action  Action        `json:"action"`
	// Operation is the deployment's.
	Operation deploy.Operation  `json:"operation,omitempty"`
	Patches   []deploy.PatchRef `json:"patches,omitempty"`
	Catalog   int64             `json:"catalog,omitempty"` // version that holds them
	Conffile  deploy.Conffile   `json:"conffile,omitempty"`
	Timeout   int               `json:"timeout,omitempty"` // seconds
	// Until is when the window closes; nothing is begun after it.
	Until           time.Time `json:"until,omitzero"`
	RestartServices bool      `json:"restart_services,omitempty"`
}

// Event is one thing that happened to a task on the endpoint. Events are
// numbered per agent and sent again until acknowledged: the server takes each
// Seq once.
type Event struct {
	Seq     int64          `json:"seq"`
	Task    deploy.TaskID  `json:"task"`
	Attempt int            `json:"attempt"`
	At      time.Time      `json:"at"`
	State   deploy.State   `json:"state"` // what the agent does now, or how the step ended
	Reason  string         `json:"reason,omitempty"`
	Plan    *deploy.Plan   `json:"plan,omitempty"`
	Result  *deploy.Result `json:"result,omitempty"`
	// Progress is 0 to 100.
	Progress int `json:"progress,omitempty"`
	// Refused is set when the agent refuses the order by itself: a patch
	// outside the signed catalog, a digest that differs, a local policy.
	Refused bool `json:"refused,omitempty"`
	// Damaged is the SHA-256 of a payload that the server sent wrong bytes of.
	// The server looks at its own copy; this word alone changes nothing.
	Damaged string `json:"damaged,omitempty"`
	// Verdicts answer ActVerify: per patch, installed or not and why.
	Verdicts []deploy.PatchVerdict `json:"verdicts,omitempty"`
}

// Events is a batch.
type Events struct {
	Events []Event `json:"events"`
}

// EventsReply acknowledges every event up to and including Seq.
type EventsReply struct {
	Seq int64 `json:"seq"`
}

// Wake is one line of the wake channel. Hello opens it; Check asks the agent
// to check in now; Ping keeps middleboxes from closing it.
type Wake struct {
	Kind string `json:"kind"` // hello, check, ping
	// After spreads agents: wait up to this many seconds before the check-in.
	After int `json:"after,omitempty"`
}

// Refusal is the body of every error answer.
type Refusal struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Hint    string          `json:"hint,omitempty"`
	Details json.RawMessage `json:"details,omitempty"`
}
