// Package publish makes and signs a repository.
//
// A Repository is one folder of plain files. Every change is written in an
// order that lets a reader at any moment see a consistent repository: files
// under new names first, the timestamp, which is the only file ever replaced,
// last. Private keys never enter that folder. The daily work needs the keys of
// targets, snapshot and timestamp; the root keys may lie in a safe and are
// handed in for RotateKey and RenewRoot only.
//
// One process at a time may change a repository; readers need no lock.
package publish
