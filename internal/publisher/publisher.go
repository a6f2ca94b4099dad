// Package publisher is the Central Patch Repository: it asks vendors what is
// new, adds risk, proves where each patch is from, puts everything into one
// catalog per platform and signs it.
//
// The work is one visible list of stages: crawl, enrich, lab, catalog,
// publish. Each takes what the one before left in a batch. The repository is
// plain files; whoever serves or carries them needs no trust.
package publisher

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/fettlehq/fettle/internal/aptget"
	"github.com/fettlehq/fettle/internal/buildinfo"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/all"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/dotnet"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus/scan"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus/sdp"
	"github.com/fettlehq/fettle/internal/publisher/crawl/winget"
	"github.com/fettlehq/fettle/internal/publisher/enrich"
	"github.com/fettlehq/fettle/internal/publisher/enrich/cvss"
	"github.com/fettlehq/fettle/internal/publisher/enrich/epss"
	"github.com/fettlehq/fettle/internal/publisher/enrich/kev"
	"github.com/fettlehq/fettle/internal/publisher/lab"
	"github.com/fettlehq/fettle/internal/repo/publish"
	"github.com/fettlehq/fettle/internal/run"
)

// Publisher publishes one repository. Its methods may be called concurrently.
type Publisher struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	sources []crawl.Source
	runner  *crawl.Runner
	feeds   []feed
	lab     *lab.Lab
	lock    *flock.Flock

	working sync.Mutex // one Once at a time
	telling sync.Mutex // guards tell
	tell    Progress
	filing  sync.Mutex // guards repo, which is not safe for concurrent use
	repo    *publish.Repository
}

// feed is a source that adds risk.
type feed struct {
	source *crawl.Document
	apply  enrich.Feed
}

// Options replace what a test or another program brings along.
type Options struct {
	Log *slog.Logger     // nil discards
	Now func() time.Time // nil is time.Now
	// Runner starts apt; nil means run.OS.
	Runner run.Runner
	// Names knows releases by their code names; nil reads this machine's
	// os-release and distro-info-data.
	Names debian.Names
	// Client fetches; nil makes one of the configuration.
	Client crawl.Client
}

// New prepares a publisher: it makes the folders, the repository and its keys
// where they are not there yet, and opens them. fault.Conflict means that
// another publisher works in the same folder; fault.Untrusted that the
// repository was changed by somebody else; fault.Invalid a configuration that
// can't work.
func New(ctx context.Context, cfg Config, opt Options) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Publisher{cfg: cfg.withDefaults(), log: opt.Log, now: opt.Now}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	err := os.MkdirAll(p.cfg.Data, 0o755)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "publisher: can't make the folder %s", p.cfg.Data).
			WithHint("run it as a user who may write there, or name another folder with --data")
	}
	if p.lock, err = lockFolder(p.cfg.Data); err != nil {
		return nil, err
	}
	if err := p.open(ctx, opt); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close gives the folder free for another publisher.
func (p *Publisher) Close() { _ = p.lock.Unlock() }

func (p *Publisher) shardDir() string   { return filepath.Join(p.cfg.Data, "shards") }
func (p *Publisher) stagingDir() string { return filepath.Join(p.cfg.Data, "staging") }

func (p *Publisher) open(ctx context.Context, opt Options) error {
	if err := os.RemoveAll(p.stagingDir()); err != nil { // what a crash left
		return fault.Wrap(err, fault.Unavailable, "publisher: can't empty the staging folder")
	}
	for _, dir := range []string{p.shardDir(), p.stagingDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fault.Wrap(err, fault.Unavailable, "publisher: can't make the folder %s", dir)
		}
	}
	var err error
	if p.lab, err = lab.Open(p.cfg.Data); err != nil {
		return err
	}
	code, err := p.cfg.Authenticode.load()
	if err != nil {
		return err
	}
	code.Products = p.cfg.Winget.Products
	p.lab.Believe(code)
	if err := p.makeSources(ctx, opt); err != nil {
		return err
	}
	if p.runner, err = crawl.NewRunner(filepath.Join(p.cfg.Data, "sources"), p.sources); err != nil {
		return err
	}
	p.repo, err = p.openRepository(ctx)
	return err
}

// makeSources turns the configuration into sources: vendors first, then the
// feeds that add risk.
func (p *Publisher) makeSources(ctx context.Context, opt Options) error {
	archives, err := p.client(opt, 3)
	if err != nil {
		return err
	}
	feeds, err := p.client(opt, 1)
	if err != nil {
		return err
	}
	if opt.Names == nil {
		opt.Names = p.names("/etc/os-release", "/usr/share/distro-info")
	}
	wanted := all.Config{
		Platform: p.cfg.Platform, DebianTracker: p.cfg.Feeds.DebianTracker, DebianDSA: p.cfg.Feeds.DebianDSA, Client: archives, Feeds: feeds,
		Options:  debian.Options{Keep: p.cfg.Keep, Now: p.now, Names: opt.Names},
		Progress: func(source, doing string) { p.say("crawl", source, doing) },
	}
	if m := p.cfg.Microsoft; m.MSRC != "" {
		wanted.Microsoft = &microsoft.Config{
			MSRC: m.MSRC, Lists: m.Supersedence, Since: m.Since,
			Catalog: microsoft.Catalog{Address: m.Catalog, KBs: m.KBs, Follow: m.Follow, Newest: m.Newest, Prove: m.Prove},
		}
	}
	if w := p.cfg.Winget; w.Manifests != "" {
		wanted.Winget = &winget.Config{
			Manifests: w.Manifests, Index: w.Index, Packages: w.Packages, Keep: w.Keep, MaxInstaller: w.MaxInstaller << 20,
			CVEs: cmp.Or(w.CVEs, p.cfg.Feeds.CVSS), Mozilla: w.Mozilla, OtherVersions: w.OtherVersions,
			Verdict: func(id, sha256 string) (good, known bool) { return p.lab.Verdict(winget.Vendor, id, sha256) },
		}
	}
	if w := p.cfg.Wsusscn2; w.Location != "" {
		wanted.Scan = &scan.Config{Location: w.Location, Since: w.Since, Prove: w.Prove, Seal: p.seal(w.Signer), WindowsUpdate: w.WindowsUpdate}
	}
	if d := p.cfg.Dotnet; d.Location != "" {
		wanted.Dotnet = &dotnet.Config{Location: d.Location, Channels: d.Channels, Prove: d.Prove}
	}
	for _, c := range p.cfg.SDP {
		wanted.SDP = append(wanted.SDP, sdp.Config{Name: c.Name, Location: c.Location, Signer: c.Signer, Prove: c.Prove, Seal: p.seal(c.CatalogSigner)})
	}
	for _, a := range p.cfg.Archives {
		wanted.Archives = append(wanted.Archives, debian.Config(a))
	}
	if p.cfg.Machine {
		runner := opt.Runner
		if runner == nil {
			runner = run.OS{}
		}
		apt, err := aptget.Machine(ctx, runner, aptget.Config{
			Root: filepath.Join(p.cfg.Data, "apt"), Etc: p.cfg.AptEtc, Architectures: p.cfg.Architectures,
		})
		if err != nil {
			return err
		}
		wanted.Apt = apt
		if wanted.Platform == "" {
			wanted.Platform = machineRelease("/etc/os-release")
		}
	}
	if p.sources, err = all.Sources(wanted); err != nil {
		return err
	}
	p.makeFeeds(feeds)
	return nil
}

// client makes the client for what apt does not fetch. Feeds only add to what
// archives give: they are asked once per run, so that behind a firewall that
// swallows packets the first catalog does not wait for them for minutes.
func (p *Publisher) client(opt Options, attempts int) (crawl.Client, error) {
	if opt.Client != nil {
		return opt.Client, nil
	}
	return fetch.New(fetch.Config{UserAgent: buildinfo.UserAgent("fettle"), Proxy: p.cfg.Proxy, Attempts: attempts})
}

func (p *Publisher) makeFeeds(client crawl.Client) {
	for _, f := range []struct {
		name, url string
		apply     enrich.Feed
	}{
		{"kev", p.cfg.Feeds.KEV, kev.Apply},
		{"epss", p.cfg.Feeds.EPSS, epss.Apply},
		{"cvss", p.cfg.Feeds.CVSS, cvss.Apply},
	} {
		if f.url == "" {
			continue
		}
		doc := &crawl.Document{ID: f.name, URL: f.url, Client: client, Read: check(f.apply)}
		p.feeds = append(p.feeds, feed{source: doc, apply: f.apply})
		p.sources = append(p.sources, doc)
	}
}

// Health tells how every source fares.
func (p *Publisher) Health() []crawl.Health {
	p.working.Lock()
	defer p.working.Unlock()
	return p.runner.Health()
}

// Run publishes now and then at every interval, until ctx ends; then it
// returns nil. A run that fails is logged and tried again at the next
// interval: what was published before stays good until it expires. done, which
// may be nil, is told of every run.
func (p *Publisher) Run(ctx context.Context, progress Progress, done func(Report, error)) error {
	for {
		start := p.now()
		report, err := p.Once(ctx, progress)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to stop: the run that was cut off changed nothing
		}
		if err != nil {
			p.log.Error("publishing failed", "error", err, "hint", fault.HintOf(err))
		} else {
			p.log.Info("published", "version", report.Version, "changed", report.Changed, "took", report.Took)
		}
		if done != nil {
			done(report, err)
		}
		wait := time.NewTimer(p.cfg.Interval - p.now().Sub(start))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
	}
}
