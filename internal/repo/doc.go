// Package repo names the parts of Fettle's signed repository.
//
// A repository is a tree of plain files that any web server, disk or memory
// stick can carry. Its metadata follows The Update Framework 1.0.31
// (https://theupdateframework.github.io/specification/): root says whose keys
// count, targets says which files are genuine, snapshot says which targets
// file is current, timestamp says which snapshot is current, and each of them
// expires. Package repo/publish signs a repository, package repo/client
// verifies one.
//
//	metadata/N.root.json       every version, kept for ever: clients walk the chain
//	metadata/N.targets.json    the last few versions
//	metadata/N.snapshot.json   the last few versions
//	metadata/timestamp.json    the only file that is ever replaced
//	targets/DIR/HASH.NAME      the files named in targets (catalog shards)
//	payloads/sha256/aa/HASH    vendor files; they are no TUF targets: their
//	                           hash and size stand in a signed target
package repo
