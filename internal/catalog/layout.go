package catalog

import (
	"encoding/binary"
	"math"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// The file, all numbers little endian:
//
//	magic                 16 bytes, names the format
//	directory             one u64 per section: its size in bytes
//	sections              in the order of the constants below, without gaps
//
// Everything up to and including the advisory keys is resident: Open
// reads it in one go, and a match needs no more of the file than that and the
// records of the patches that it finds.
const magic = "fettle-shard/01\n"

const (
	secHeader   = iota // JSON of Header
	secDict            // JSON of dict
	secNames           // 12 bytes a name, sorted by kind and name: pool offset, first item, kind
	secItems           // 14 bytes an item, sorted by kind, name, arch, version, patch
	secPool            // strings, each with a uvarint length in front
	secPatchIdx        // indexRow per patch, sorted by key
	secAdvIdx          // indexRow per advisory
	secVulnIdx         // indexRow per vulnerability
	secVulnKeys        // keys without separators; index rows hold the ends
	secAdvKeys
	secPatchKeys
	secPatches // records: JSON of the words, in key order
	secAdvisories
	secVulns
	sections
)

const (
	residentSections = secAdvKeys + 1
	directorySize    = 8 * sections
	preambleSize     = len(magic) + directorySize
	nameRowSize      = 12
	itemRowSize      = 14
	indexRowSize     = 16
)

// Limits of a shard. Debian 12 (66,000 items) stays below a tenth of each.
const (
	// MaxShard bounds the whole file in bytes.
	MaxShard = 2 << 30
	// MaxResident bounds what Open loads into memory, in bytes.
	MaxResident = 256 << 20
	// MaxRecord bounds one record in bytes.
	MaxRecord = 16 << 20
)

// dict holds the few strings that rows name by ordinal.
type dict struct {
	Kinds []string   `json:"kinds"`
	Archs []string   `json:"archs"`
	Sets  [][]string `json:"sets"` // sets of archive ids, each sorted
}

// The flags of item rows and of patches' index rows.
const (
	flagSecurity = 1 << iota // the patch is classified as security
	flagOwnRules             // the patch brings rules of its own, or has no items
	flagUser                 // the patch installs for one user
	flagMSI                  // Windows Installer installs the patch
)

// row is one item of the table, with its strings.
type row struct {
	kind, name, arch, version string
	patch                     uint32 // ordinal of the patch
	set                       uint16 // ordinal of the archive set
	phased                    uint8
	flags                     uint8
}

// indexRow places a record. Ends count from the start of the kind's section.
type indexRow struct {
	keyEnd, recEnd uint32
	// a and b belong to the kind: set ordinal and flags of a patch; EPSS
	// (float32 bits) and packed risk of a vulnerability.
	a, b uint32
}

func (r indexRow) append(to []byte) []byte {
	to = binary.LittleEndian.AppendUint32(to, r.keyEnd)
	to = binary.LittleEndian.AppendUint32(to, r.recEnd)
	to = binary.LittleEndian.AppendUint32(to, r.a)
	return binary.LittleEndian.AppendUint32(to, r.b)
}

// indexAt decodes row i; the caller has checked that it exists.
func indexAt(table []byte, i int) indexRow {
	b := table[i*indexRowSize:][:indexRowSize]
	return indexRow{
		keyEnd: binary.LittleEndian.Uint32(b), recEnd: binary.LittleEndian.Uint32(b[4:]),
		a: binary.LittleEndian.Uint32(b[8:]), b: binary.LittleEndian.Uint32(b[12:]),
	}
}

// risk is what a match needs of a vulnerability, without its record.
type risk struct {
	severity  patch.Severity
	epss      float64
	exploited bool
}

const riskExploited = 1 << 8

func packRisk(v patch.Vulnerability) (a, b uint32) {
	a, b = math.Float32bits(float32(v.EPSS)), uint32(v.Severity.Rank())
	if v.KEV != nil {
		b |= riskExploited
	}
	return a, b
}

func unpackRisk(r indexRow) risk {
	out := risk{epss: roundEPSS(float64(math.Float32frombits(r.a))), exploited: r.b&riskExploited != 0}
	for _, s := range []patch.Severity{patch.Critical, patch.Important, patch.Moderate, patch.Low, patch.Unknown} {
		if uint32(s.Rank()) == r.b&0xff {
			out.severity = s
		}
	}
	return out
}

// roundEPSS gives back the five decimals that FIRST publishes. What is no
// probability becomes 0.
func roundEPSS(v float64) float64 {
	if !(v > 0 && v <= 1) {
		return 0
	}
	return math.Round(v*1e5) / 1e5
}

// patchFlags are the flags of a patch's rows.
func patchFlags(p patch.Patch) uint8 {
	var f uint8
	if p.IsSecurity() {
		f |= flagSecurity
	}
	if len(p.Items) == 0 || (p.Applicable != nil && p.Installed != nil) {
		f |= flagOwnRules
	}
	if p.Install.Scope == "user" {
		f |= flagUser
	}
	if p.Install.Kind == "msi" || p.Install.Kind == "msp" {
		f |= flagMSI
	}
	return f
}

func damaged(format string, args ...any) error {
	return fault.New(fault.Untrusted, "catalog: the shard is damaged: "+format, args...).
		WithHint("fetch the shard again; the file on disk is not what the publisher signed")
}
