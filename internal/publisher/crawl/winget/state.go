package winget

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// state is the fingerprint of a Source.
type state struct {
	Form int    `json:"form"`
	From string `json:"from"`
	// Versions is the hash of the folded versions, Records of the CVE records
	// that concern followed packages; both packed.
	Versions string `json:"versions"`
	Records  string `json:"records,omitempty"`
	// Asked are the names that Records were searched for, Recorded counts all
	// records that were searched.
	Asked    string `json:"asked,omitempty"`
	Recorded int    `json:"recorded,omitempty"`
	// Mozilla is the hash of what Mozilla's advisories say of followed
	// packages, Bulletins counts them.
	Mozilla   string `json:"mozilla,omitempty"`
	Bulletins int    `json:"bulletins,omitempty"`
	// Seen are fetch's fingerprints by address.
	Seen map[string]string `json:"seen,omitempty"`
	// Newest are the versions that the last index names, by followed package.
	Newest map[string][]string `json:"newest,omitempty"`
	// Indexed counts the packages of the index.
	Indexed int `json:"indexed,omitempty"`
	// Fetched are the sizes of the installers in the folder, by SHA-256, and
	// Refused why others are not there.
	Fetched map[string]int64  `json:"fetched,omitempty"`
	Refused map[string]string `json:"refused,omitempty"`
	// Said is what fetched installers say of themselves.
	Said map[string]said `json:"said,omitempty"`
	// Sold are the versions as which installers that were fetched were sold
	// first, by package and SHA-256. They stay when file and manifest have left,
	// some 120 bytes each: that a program was sold before is all that shows of
	// many that an old one is sold as new.
	Sold map[string]string `json:"sold,omitempty"`
	// Judged says of fetched installers that were examined before whether they
	// were found good, by package and SHA-256.
	Judged map[string]bool `json:"judged,omitempty"`
}

func (st state) judged(id, sha256 string) (good, known bool) {
	good, known = st.Judged[fileOf(id, sha256)]
	return good, known
}

func (s *Source) recall(prev crawl.Fingerprint) state {
	from := fmt.Sprint(s.cfg.Manifests, " ", s.cfg.Index, " ", s.cfg.CVEs, " ", s.cfg.Mozilla, " ", s.cfg.Packages, " ", s.cfg.Keep)
	var st state
	if prev == nil || json.Unmarshal(prev, &st) != nil || st.Form != form || st.From != from {
		st = state{Form: form, From: from, Fetched: st.Fetched, Said: st.Said, Sold: st.Sold}
	}
	if st.Seen == nil {
		st.Seen = map[string]string{}
	}
	if st.Fetched == nil {
		st.Fetched = map[string]int64{}
	}
	if st.Sold == nil {
		st.Sold = map[string]string{}
	}
	st.Refused = map[string]string{}
	return st
}

// Blobs names the folded versions and records, and the installers.
func (s *Source) Blobs(at crawl.Fingerprint) []string {
	var st state
	if at == nil || json.Unmarshal(at, &st) != nil {
		return nil
	}
	out := []string{st.Versions, st.Records, st.Mozilla}
	for sum := range st.Fetched {
		out = append(out, sum)
	}
	slices.Sort(out)
	return out
}

// folded is what is kept of the manifests.
type folded struct {
	Versions []Version         `json:"versions"`
	Rejected []crawl.Rejection `json:"rejected,omitempty"`
	Files    int               `json:"files"`
}

// keepJSON stores a value, packed, and returns its hash.
func keepJSON(dir string, v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "winget: what was read can't be encoded")
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "winget: no zstd writer")
	}
	packed := z.EncodeAll(data, nil)
	sum := sha256.Sum256(packed)
	name := hex.EncodeToString(sum[:])
	return name, atomicfile.Write(crawl.BlobPath(dir, name), packed, 0o644)
}

func loadJSON(dir, sum string, into any) error {
	f, err := os.Open(crawl.BlobPath(dir, sum))
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "winget: what was read is gone from the source's folder")
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fault.Wrap(err, fault.Internal, "winget: no zstd reader")
	}
	defer z.Close()
	if err := json.NewDecoder(io.LimitReader(z, maxFolded)).Decode(into); err != nil {
		return fault.Wrap(err, fault.Invalid, "winget: what was read is damaged on disk")
	}
	return nil
}

func sortedKeys[K ~string, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
