package winget

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// installers fetches the installers of the newest versions that are not there
// yet. What can't be had is remembered with the reason and tried again by the
// next run, and so is what else a server has that did not answer; only a full
// disk and an end of the context stop it.
func (f *fetching) installers(ctx context.Context, all []Version) error {
	g := gathering{f: f, sizes: map[string]int64{}, said: map[string]said{}, silent: map[string]string{}, lowest: lowest(all)}
	for range maxRounds {
		more, err := g.round(ctx, all)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	f.st.Fetched, f.st.Said, f.st.Judged = g.sizes, g.said, f.judged(all, g.sizes)
	if n := len(f.st.Refused); n > 0 {
		f.note("%d installers could not be fetched; their patches say why", n)
	}
	return nil
}

// judged remembers what became of the fetched installers: reading must give the
// same each time.
func (f *fetching) judged(all []Version, fetched map[string]int64) map[string]bool {
	out := map[string]bool{}
	if f.s.cfg.Verdict == nil {
		return out
	}
	for _, v := range all {
		for _, in := range v.Installers {
			if _, have := fetched[in.SHA256]; have {
				if good, known := f.s.cfg.Verdict(v.Identifier, in.SHA256); known {
					out[fileOf(v.Identifier, in.SHA256)] = good
				}
			}
		}
	}
	return out
}

// maxRounds bounds how many versions of a line are tried, a round as many as are
// kept: of those that can't be had, or that are not what they are sold as, a
// hostile list has any number. What was fetched before costs nothing.
const maxRounds = 5

// gathering is the fetching of all installers.
type gathering struct {
	f      *fetching
	sizes  map[string]int64
	said   map[string]said
	silent map[string]string // hosts that did not answer
	lowest map[string]string // by file and package, the lowest version that names it
}

// round fetches what the newest versions need, as far as it is known by now
// which of them count, and tells whether there was anything new.
func (g *gathering) round(ctx context.Context, all []Version) (more bool, err error) {
	b := g.f.s.builder()
	b.fetching, b.said, b.sold, b.reasons = true, g.said, g.f.st.Sold, g.f.st.Refused
	if ask := g.f.s.cfg.Verdict; ask != nil {
		b.judged = ask
	}
	b.add(all)
	b.compare()
	for _, r := range b.wanted() {
		sum := r.installer.SHA256
		if _, done := g.sizes[sum]; done || g.f.st.Refused[sum] != "" {
			continue
		}
		more = true
		if err := g.one(ctx, r); err != nil {
			return false, err
		}
	}
	return more, nil
}

// one fetches an installer, or remembers why not.
func (g *gathering) one(ctx context.Context, r release) error {
	f, sum, host := g.f, r.installer.SHA256, hostOf(r.installer.URL)
	if why := g.silent[host]; why != "" && !f.has(sum) {
		f.st.Refused[sum] = why
		return nil
	}
	size, err := f.installer(ctx, r.version.Identifier+" "+r.version.Version+" "+r.installer.Architecture, r.installer.URL, sum)
	switch {
	case err == nil:
		g.sizes[sum] = size
		g.said[sum] = f.listen(sum, r)
		if key := fileOf(r.version.Identifier, sum); f.st.Sold[key] == "" {
			f.st.Sold[key] = g.lowest[key]
		}
	case ctx.Err() != nil || fault.Is(err, fault.Exhausted) || fault.Is(err, fault.Cancelled):
		return err
	default:
		f.st.Refused[sum] = "the installer could not be fetched: " + fault.Public(err)
		if fault.Is(err, fault.Unavailable) && host != "" {
			g.silent[host] = "the installer could not be fetched: " + host + " did not answer"
		}
	}
	return nil
}

// lowest says, by file and package, which is the lowest version that names the
// file. Versions come in order.
func lowest(all []Version) map[string]string {
	out := map[string]string{}
	for _, v := range all {
		for _, in := range v.Installers {
			if key := fileOf(v.Identifier, in.SHA256); out[key] == "" {
				out[key] = v.Version
			}
		}
	}
	return out
}

func hostOf(at string) string {
	u, err := url.Parse(at)
	if err != nil {
		return ""
	}
	return u.Host
}

func (f *fetching) has(sum string) bool {
	_, err := os.Stat(crawl.BlobPath(f.dir, sum))
	return err == nil
}

// installer brings one file into the folder, unless it is there.
func (f *fetching) installer(ctx context.Context, name, at, sum string) (int64, error) {
	path := crawl.BlobPath(f.dir, sum)
	if info, err := os.Stat(path); err == nil {
		return info.Size(), nil
	}
	f.say("fetching " + name)
	if err := download(ctx, f.s.installers(), at, path, sum, f.s.cfg.MaxInstaller); err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, fault.Wrap(err, fault.Unavailable, "winget: the fetched installer can't be read")
	}
	return info.Size(), nil
}

// installers is the client for what manifests name: only those of a folder of
// this machine may name files of it.
func (s *Source) installers() crawl.Client {
	if s.base != "" {
		return crawl.Remote(s.client)
	}
	return s.client
}

// download fetches under a name that the runner's sweep leaves alone, so that a
// cut-off download goes on with the next run.
func download(ctx context.Context, client crawl.Client, at, path, sum string, limit int64) error {
	incoming := filepath.Join(filepath.Dir(path), ".incoming-"+sum)
	if err := client.Download(ctx, fetch.Request{URL: at, MaxSize: limit}, incoming, sum, -1); err != nil {
		return err
	}
	if err := os.Rename(incoming, path); err != nil {
		return fault.Wrap(err, fault.Unavailable, "winget: the fetched installer can't be put in place")
	}
	return nil
}

// Holds names no archive: installers stand in none.
func (s *Source) Holds(crawl.Fingerprint) []string { return nil }

// Offers says whether an installer with that hash was fetched.
func (s *Source) Offers(at crawl.Fingerprint, sha256 string) bool {
	var st state
	if at == nil || json.Unmarshal(at, &st) != nil {
		return false
	}
	_, ok := st.Fetched[sha256]
	return ok
}

// Payloads links the installers into dir; one that is gone from the source's
// folder is fetched again.
func (s *Source) Payloads(ctx context.Context, _ crawl.Fingerprint, items []crawl.Wanted, dir string) (map[string]string, error) {
	out := map[string]string{}
	for _, w := range items {
		p := w.Item.Payload
		at := filepath.Join(dir, p.SHA256)
		if _, done := out[p.SHA256]; done {
			continue
		}
		if err := download(ctx, s.installers(), p.URL, at, p.SHA256, p.Size); err != nil {
			return nil, err
		}
		out[p.SHA256] = at
	}
	return out, nil
}
