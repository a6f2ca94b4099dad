// Package debian crawls signed Debian-style package archives and Debian's
// security tracker.
//
// There are two ways to the indexes. Machine lets the machine's own apt fetch
// them into a private folder, so that its mirrors, proxies, credentials and
// keyrings work as they are set up. Archive fetches one suite that the
// publisher's configuration names, by hash and conditionally. Either way this
// package verifies again by itself: InRelease by OpenPGP against the keyring
// of the source, each index by the hash that InRelease signs, and that a suite
// never goes back in time.
//
// Each suite is pinned as a snapshot (catalog.Archive) with its InRelease and
// its indexes, so that what was tested is what is installed. When a suite
// moves on, the snapshots that alone still hold some package stay for a while
// for deployments that were approved from them.
//
// Formats: https://wiki.debian.org/DebianRepository/Format, deb-src(5),
// sources.list(5), https://security-tracker.debian.org/tracker/data/json and
// the tracker's data/DSA/list.
package debian
