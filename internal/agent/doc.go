// Package agent is the endpoint wing: it takes the inventory, matches it with
// the verified catalog, and does what the server orders, as far as the signed
// catalog and the machine's own policy allow.
//
// The process that stays (Run) holds only the connection and the journal.
// Whatever needs memory or time (scans, the repository client, package
// managers) runs in a child process of the same binary (Step), so that the
// idle agent is small and a task survives the agent's restart.
package agent
