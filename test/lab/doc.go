// Package lab runs real throw-away Debian machines and builds signed package
// archives for them.
//
// A [Fleet] is a set of machines, each a systemd container with its own root
// file system, host name and network, joined by a bridge inside a network
// namespace that leads nowhere else: a machine reaches the server of its fleet
// at [ServerAddr] and nobody else, least of all a vendor. An [Archive] is an
// apt repository made on the spot, signed by a key made on the spot.
//
// The lab needs root and the tools that [Require] names. It never touches the
// network of the machine that it runs on; everything that it makes carries its
// own mark, so that [Sweep] can remove what a crashed run left behind.
package lab
