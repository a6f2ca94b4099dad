// Package client follows a signed repository and believes nothing that its
// keys have not signed.
//
// A Client pins one root file, walks the chain of root rotations from there
// and runs TUF's client workflow (specification 1.0.31, section 5) over a
// Transport: below-threshold signatures, rolled-back versions, expired
// (frozen) metadata, mixed-up files, endless and dripping transfers are
// refused with a fault that says what was refused and why. Whatever fails, the
// last good state stays, in memory and on disk.
//
// The state folder has the layout of a repository, and Mirror makes a full one
// byte for byte, so an agent runs this same client against its server's copy.
//
// The rules of TUF are go-tuf's trustedmetadata, a state machine over bytes.
// Its updater is not used: that has no context, reads whole targets into
// memory and overwrites its state before the new one is complete.
package client
