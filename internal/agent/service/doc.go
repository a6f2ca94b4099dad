// Package service is the agent as Windows' service control manager knows it:
// how it is registered, started and stopped, and what it writes to the event
// log. Elsewhere it is empty: systemd's unit says all of it.
package service
