package crawl

import (
	"context"
	"net/url"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
)

// Remote is a client for sources that other people write far away: what they
// name may lie at http and https addresses, not among this machine's own files,
// of which a source could learn by what is then published about them.
func Remote(c Client) Client { return remote{c} }

type remote struct{ client Client }

func (r remote) Get(ctx context.Context, q fetch.Request) (fetch.Response, error) {
	if err := elsewhere(q.URL); err != nil {
		return fetch.Response{}, err
	}
	return r.client.Get(ctx, q)
}

func (r remote) Download(ctx context.Context, q fetch.Request, path, sha256 string, size int64) error {
	if err := elsewhere(q.URL); err != nil {
		return err
	}
	return r.client.Download(ctx, q, path, sha256, size)
}

func elsewhere(address string) error {
	if u, err := url.Parse(address); err == nil && (strings.EqualFold(u.Scheme, "http") || strings.EqualFold(u.Scheme, "https")) {
		return nil
	}
	return fault.New(fault.Untrusted, "crawl: a source of the network names what is no http or https address")
}
