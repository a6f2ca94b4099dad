// Package pki is Fettle's own certificate authority for machines.
//
// The server makes one CA. An enrolment command carries the CA's fingerprint,
// so the first connection is verified like every later one; there is no
// "skip verification" anywhere. An agent makes its key itself and sends a
// certificate request, of which only the public key counts. What an agent is
// called stands in its certificate as fettle://TENANT/ENDPOINT, where the
// endpoint is a random id: host names are never identity.
//
// All keys are ECDSA on P-256: TLS 1.3 peers of every kind accept it, TPMs,
// Windows CNG and Apple's Secure Enclave can hold such keys, and Go signs and
// verifies it in assembly. All connections are TLS 1.3.
package pki
