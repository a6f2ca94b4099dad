package agent

// EventKey is the attribute of log records that people look for; its value is
// one of the numbers below. On Windows they are the ids in the event log.
const EventKey = "event"

// The numbers never change their meaning.
const (
	EventStarted    = 100
	EventStopped    = 101
	EventEnrolled   = 110
	EventInstalled  = 120 // patches were installed or taken back; a scan is to prove it
	EventIncomplete = 121 // some of them failed
	EventFailed     = 122 // an order could not be carried out
	EventRefused    = 130 // the agent refused an order by itself
	EventReboot     = 140
)
