// Package endpoint tests the parts of the agent that change a machine on real
// throw-away Debian machines without a route to any vendor. See package lab.
package endpoint
