// Package server is the wing at the customer's site: it subscribes to a signed
// repository, learns what every machine has, finds what is missing, leads
// people through approval, and drives deployments to their proven end.
//
// This root is the only place where the server's rooms meet: it makes them,
// hands each what it needs of the others, and starts and stops the whole.
package server
