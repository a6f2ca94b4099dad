// Package winget crawls applications for Windows from manifests in the form of
// the Windows Package Manager's repository (microsoft/winget-pkgs, schema 1.x),
// and from an operator's own folder of such manifests.
//
// A manifest names a version of a package and its installers: address, SHA-256,
// form, switches, return codes, and by which names the installed product is
// known. Of every followed package the newest versions become patches, one per
// architecture, form and scope. Their installers are fetched here, because a
// manifest tells no size, and because the lab wants to see the maker's
// signature before anything is published as installable.
//
// CVEs are joined from CVE records by a table of exact names (names.go) and the
// record's own ranges of versions, never by guessed names.
//
// The schema: https://github.com/microsoft/winget-pkgs/tree/master/doc/manifest/schema
package winget
