// Package fetch is a polite HTTP client for vendors' feeds and payloads.
//
// It asks only for what has changed, waits between requests to one host, tries again when a server is busy and as long
// after as the server says, bounds every answer, resumes downloads and names itself. "file://" addresses are read from
// disk through the same calls, so that everything also works behind an air gap.
//
// Get is for documents that fit in memory, Download and Resume for files whose hash is known beforehand. Errors:
// fault.Unavailable when trying later may help, fault.NotFound (404, 410), fault.Denied (401, 403, 407), fault.Invalid
// when the answer is not what was asked for, fault.Untrusted when it has the wrong hash or size, fault.Cancelled.
package fetch

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fettlehq/fettle/internal/fault"
)

// Config of a Client. The zero value of each field means its default.
type Config struct {
	// UserAgent names the program and where to complain; see buildinfo.UserAgent. Required.
	UserAgent string
	// Proxy is the proxy's URL; "" means as the environment says (HTTP_PROXY, HTTPS_PROXY, NO_PROXY), "direct" none.
	Proxy string
	// PerHost is the least time between two requests to one host; default 200 ms, negative none.
	PerHost time.Duration
	// Attempts bounds how often one request is tried in a row without any progress; default 5.
	Attempts int
	// Backoff is the wait before the second attempt, doubled for each further one up to MaxWait; default 1 s. It is
	// stretched by up to a half at random, so that many clients do not return together.
	Backoff time.Duration
	// MaxWait is the longest wait between attempts; default 2 min. A server that asks for more in Retry-After ends the
	// request with a fault.Unavailable that says so.
	MaxWait time.Duration
	// Stall is how long a server may send nothing; default 60 s.
	Stall time.Duration
	// Patience is how long a request may take with all its attempts, plus a second for each Least bytes that it may
	// bring: whoever always sends a little holds nobody up for ever. A Download goes on where it ended. Defaults 30 min
	// and 64 KiB.
	Patience time.Duration
	Least    int64
	// MaxSize bounds an answer to Get, unpacked; default 512 MiB.
	MaxSize int64
	// Transport replaces the HTTP transport, for own certificate authorities; Proxy is ignored then.
	Transport http.RoundTripper
}

// Client fetches. It is safe for concurrent use.
type Client struct {
	cfg   Config
	http  *http.Client
	mu    sync.Mutex
	hosts map[string]*rate.Limiter
}

// New returns a client. Errors: fault.Invalid for a configuration that makes no sense.
func New(cfg Config) (*Client, error) {
	if cfg.UserAgent == "" {
		return nil, fault.New(fault.Invalid, "fetch: a user agent is required")
	}
	def(&cfg.PerHost, 200*time.Millisecond)
	def(&cfg.Attempts, 5)
	def(&cfg.Backoff, time.Second)
	def(&cfg.MaxWait, 2*time.Minute)
	def(&cfg.Stall, time.Minute)
	def(&cfg.Patience, 30*time.Minute)
	def(&cfg.Least, 64<<10)
	def(&cfg.MaxSize, 512<<20)
	c := &Client{cfg: cfg, hosts: map[string]*rate.Limiter{}}
	c.http = &http.Client{CheckRedirect: redirect}
	if cfg.Transport != nil {
		c.http.Transport = cfg.Transport
		return c, nil
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = cfg.Stall
	switch cfg.Proxy {
	case "":
	case "direct":
		t.Proxy = nil
	default:
		u, err := url.Parse(cfg.Proxy)
		if err != nil || u.Host == "" {
			return nil, fault.New(fault.Invalid, "fetch: the proxy is not a URL such as http://proxy.example:3128")
		}
		t.Proxy = http.ProxyURL(u)
	}
	c.http.Transport = t
	return c, nil
}

func def[T int | int64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// redirect follows up to ten redirects, but none that gives up encryption.
func redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return fault.New(fault.Invalid, "fetch: more than ten redirects")
	}
	if req.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https" {
		return fault.New(fault.Invalid, "fetch: refused to follow a redirect from https to %s", req.URL.Scheme)
	}
	return nil
}

// turn waits until this host may be asked again.
func (c *Client) turn(ctx context.Context, host string) error {
	if c.cfg.PerHost < 0 {
		return nil
	}
	c.mu.Lock()
	l := c.hosts[host]
	if l == nil {
		l = rate.NewLimiter(rate.Every(c.cfg.PerHost), 1)
		c.hosts[host] = l
	}
	c.mu.Unlock()
	if err := l.Wait(ctx); err != nil {
		return fault.Wrap(err, fault.Cancelled, "fetch: stopped while waiting for %s", host)
	}
	return nil
}
