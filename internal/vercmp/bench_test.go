package vercmp

import (
	"math/rand/v2"
	"testing"

	peer "github.com/knqyf263/go-deb-version"
)

// benchmarkPairs gives each benchmark the same real versions of this machine: neighbours in sorted order, which share long
// prefixes, and pairs drawn at random, half and half.
func benchmarkPairs(b *testing.B) []pair {
	b.Helper()
	versions := realVersions(b)
	rng := rand.New(rand.NewPCG(7, 2026))
	pairs := make([]pair, 4096)
	for i := range pairs {
		k := rng.IntN(len(versions) - 1)
		pairs[i] = pair{a: versions[k], b: versions[k+1]}
		if i%2 == 0 {
			pairs[i].b = versions[rng.IntN(len(versions))]
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	return pairs
}

func BenchmarkDpkg(b *testing.B) {
	pairs := benchmarkPairs(b)
	for i := range b.N {
		p := &pairs[i%len(pairs)]
		Dpkg(p.a, p.b)
	}
}

// BenchmarkDpkgChecked is Compare: with validation of both sides.
func BenchmarkDpkgChecked(b *testing.B) {
	pairs := benchmarkPairs(b)
	for i := range b.N {
		p := &pairs[i%len(pairs)]
		if _, err := Compare(DPKG, p.a, p.b); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDpkgPeer is the usual library on the same pairs: it parses, then compares.
func BenchmarkDpkgPeer(b *testing.B) {
	pairs := benchmarkPairs(b)
	for i := range b.N {
		p := &pairs[i%len(pairs)]
		va, err := peer.NewVersion(p.a)
		if err != nil {
			b.Fatal(err)
		}
		vb, err := peer.NewVersion(p.b)
		if err != nil {
			b.Fatal(err)
		}
		va.Compare(vb)
	}
}

func BenchmarkRpm(b *testing.B) {
	pairs := benchmarkPairs(b)
	for i := range b.N {
		p := &pairs[i%len(pairs)]
		Rpm(p.a, p.b)
	}
}

// BenchmarkDpkgPeerCompare gives the library its parsing for free: versions are parsed before the clock starts.
func BenchmarkDpkgPeerCompare(b *testing.B) {
	pairs := benchmarkPairs(b)
	parsed := make([][2]peer.Version, len(pairs))
	for i, p := range pairs {
		for k, v := range []string{p.a, p.b} {
			var err error
			if parsed[i][k], err = peer.NewVersion(v); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ResetTimer()
	for i := range b.N {
		p := &parsed[i%len(parsed)]
		p[0].Compare(p[1])
	}
}
