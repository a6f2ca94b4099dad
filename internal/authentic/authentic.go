// Package authentic answers one question: is this file from its maker, unchanged?
//
// OpenPGP (signature.go, keyring.go) covers apt's Release files and rpm's repomd.xml; hashes (checksum.go) cover what
// those name. Each further scheme gets a file of its own with a Verify function of the same form, bytes and the trusted
// roots in, a description of the signer or a fault.Untrusted out: Authenticode for PE, MSI, CAB and MSU files in the folder
// authenticode, Apple's installer packages in apple.go, packages signed inside (rpm) in rpm.go.
//
// Nothing here reads the clock, the network or the machine's key stores: who is trusted and what time it is are the
// caller's to say. Every refusal names what was refused and why.
package authentic
