// Package script drives the built programs, fettle and fettle-agent, as a
// person does: each file of testdata/script is a session that reads aloud.
// A real server and a real signed repository stand behind it; only the
// machines that are patched are made up (real ones are in test/endpoint).
package script
