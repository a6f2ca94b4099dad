// Package scan crawls Microsoft's offline scan file, wsusscn2.cab: what the
// Windows Update Agent needs to tell what a machine lacks without a server.
//
// The file is a cabinet of cabinets. package.cab lists all updates with what
// they ask for; the others hold, for each revision, a fragment with Microsoft's
// own applicability rules, one with the files, and one with the title. It is
// read once, as a stream, and folded; prerequisites that are categories or
// detectoids become parts of the rules.
//
// Format: observed; Microsoft documents the use of the file alone
// (https://learn.microsoft.com/windows/win32/wua_sdk/using-wua-to-scan-for-updates-offline).
package scan

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// DefaultURL is Microsoft's own address of the file.
const DefaultURL = "https://catalog.s.download.windowsupdate.com/microsoftupdate/v6/wsusscan/wsusscn2.cab"

// form is the number of the folded form; a change of what is kept raises it.
const form = 1

// maxDownload bounds the file as it travels, in bytes; it has some 600 MB.
const maxDownload = 8 << 30

// Config says where the file comes from.
type Config struct {
	// Location is the file's address ("default" is DefaultURL) or absolute path.
	Location string
	// Since leaves out updates before that year; empty takes all.
	Since string
	// Prove names KBs whose files are fetched, so that they can be installed.
	Prove []string
	// Seal says who must have signed the file.
	Seal crawl.Seal
	// WindowsUpdate leaves updates that were not fetched to the Windows Update
	// Agent of each machine. It needs a Seal: the file alone then says which
	// update a machine is to ask for.
	WindowsUpdate bool
	// Progress is told what goes on; it may be nil.
	Progress func(doing string)
}

// Source is the offline scan file as a source of patches.
type Source struct {
	crawl.Learning[state, *state]
	cfg   Config
	at    crawl.Location
	since time.Time
}

// state is the fingerprint of a Source.
type state = crawl.Folded

// New makes a source. It returns fault.Invalid for a location or year that
// can't be.
func New(cfg Config, client crawl.Client) (*Source, error) {
	if cfg.Location == "default" {
		cfg.Location = DefaultURL
	}
	at, err := crawl.ParseLocation(cfg.Location)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "scan: the place of the offline scan file").
			WithHint("Give default, or the absolute path of wsusscn2.cab.")
	}
	if err := cfg.Seal.Validate(); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "scan: wsusscn2.signer")
	}
	if cfg.WindowsUpdate && cfg.Seal.Signer == "" {
		return nil, fault.New(fault.Invalid, "scan: machines ask Windows Update only for what a signed file names, and nobody is named who must have signed it").
			WithHint("Set wsusscn2.signer to Microsoft's name as it stands in the file's certificate, or leave out wsusscn2.windows_update.")
	}
	s := &Source{Learning: crawl.NewLearning[state](at.Client(client), form, cfg.Location+" "+cfg.Since+cfg.Seal.From()), cfg: cfg, at: at}
	if cfg.Since != "" {
		if s.since, err = time.Parse("2006", cfg.Since); err != nil {
			return nil, fault.New(fault.Invalid, "scan: %q is no year", clip(cfg.Since))
		}
	}
	return s, nil
}

// Name is "wsusscn2".
func (s *Source) Name() string { return "wsusscn2" }

// Fetch reads the file when it has changed. One that can't be read leaves the
// one before in force.
func (s *Source) Fetch(ctx context.Context, dir string, prev crawl.Fingerprint) (crawl.Fetched, error) {
	st := s.Recall(prev)
	st.Check(dir)
	folded, err := s.read(ctx, dir, &st)
	if err != nil {
		return crawl.Fetched{}, err
	}
	if folded != nil {
		if st.SHA256, err = crawl.Keep(dir, folded); err != nil {
			return crawl.Fetched{}, err
		}
	}
	choice := crawl.Choice{Patches: func() ([]patch.Patch, error) {
		if folded == nil {
			folded = &Scan{}
			if err := crawl.Load(dir, st.SHA256, folded); err != nil {
				return nil, err
			}
		}
		return output(*folded).Patches, nil
	}}
	if len(s.cfg.Prove) > 0 {
		choice.Named = func(p patch.Patch) bool {
			return slices.ContainsFunc(s.cfg.Prove, func(kb string) bool { return strings.EqualFold(kb, p.Product) })
		}
	}
	return s.Conclude(ctx, dir, prev, &st, choice, nil)
}

// read folds the file, unless it is still the one seen.
func (s *Source) read(ctx context.Context, dir string, st *state) (*Scan, error) {
	path := s.at.Path
	if path == "" {
		tmp, err := os.MkdirTemp(dir, "download-")
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "scan: no folder for the download can be made")
		}
		defer os.RemoveAll(tmp)
		path = filepath.Join(tmp, "wsusscn2.cab")
		got, err := s.Client.Get(ctx, fetch.Request{URL: s.cfg.Location, Fingerprint: st.Seen, File: path, Expect: fetch.NotHTML, MaxSize: maxDownload})
		if err != nil || got.NotModified {
			return nil, err
		}
		st.Seen = got.Fingerprint
	} else {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fault.Wrap(err, fault.NotFound, "scan: there is no file %s", path)
		}
		seen := crawl.FileVersion(info)
		if seen == st.Seen {
			return nil, nil //nolint:nilnil // nothing new is neither a file nor an error
		}
		st.Seen = seen
	}
	if s.cfg.Progress != nil {
		s.cfg.Progress("reading the offline scan file")
	}
	return s.fromFile(path)
}

// fromFile folds the file whose signature was looked at.
func (s *Source) fromFile(path string) (*Scan, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "scan: the file can't be opened")
	}
	defer f.Close()
	proof, err := s.cfg.Seal.Check(f)
	if err != nil {
		return nil, err
	}
	folded, err := Parse(f, s.since)
	folded.Proof = proof
	return &folded, err
}

// Parse makes the patches.
func (s *Source) Parse(_ context.Context, dir string, at crawl.Fingerprint) (crawl.Output, error) {
	st := s.Recall(at)
	if st.SHA256 == "" {
		return crawl.Output{}, fault.New(fault.NotFound, "scan: there is no offline scan file yet")
	}
	var folded Scan
	if err := crawl.Load(dir, st.SHA256, &folded); err != nil {
		return crawl.Output{}, err
	}
	out, updates := outputs(folded)
	for i := range out.Patches {
		p := &out.Patches[i]
		st.Learned.Tell(p, "name "+p.Product+" in wsusscn2.prove to have it proven")
		if s.cfg.WindowsUpdate && folded.Proof != nil && !fetched(*p) {
			delegate(p, updates[p.ID], folded.Proof)
			continue
		}
		if folded.Proof != nil && len(p.Items) > 0 {
			p.Evidence.Checks = append(p.Evidence.Checks, folded.Proof.Tell())
		}
	}
	return out, nil
}
