package link

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// unreached tells a refused peer from one that is away: only the first is a
// matter of trust.
func (c *Client) unreached(ctx context.Context, err error) error {
	var bad *tls.CertificateVerificationError
	var inner *fault.Error
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return fault.Wrap(err, fault.Cancelled, "link: the request was stopped")
	case errors.As(err, &inner) && inner.Code == fault.Untrusted:
		return fault.Wrap(err, fault.Untrusted, "link: the server at %s is refused", c.base.Host)
	case errors.As(err, &bad):
		return fault.Wrap(err, fault.Untrusted, "link: the server at %s is refused: its certificate is not from the expected authority", c.base.Host).
			WithHint("compare the CA fingerprint with the one that the server shows")
	}
	return fault.Wrap(err, fault.Unavailable, "link: the server at %s can't be reached", c.base.Host).
		WithHint("check name, port, proxy and firewall; an agent that is enrolled keeps trying by itself")
}

// refusal reads wire.Refusal; what is none (a proxy's page) gives a fault by
// the status alone.
func (c *Client) refusal(resp *http.Response) error {
	var r wire.Refusal
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil || r.Message == "" || !known(fault.Code(r.Code)) {
		return fault.New(codeOf(resp.StatusCode), "link: the server at %s answers HTTP %d", c.base.Host, resp.StatusCode)
	}
	e := fault.New(fault.Code(r.Code), "the server says: %s", r.Message)
	e.Hint = r.Hint
	return e
}

// codeOf is the code of an answer without one. Gateways send the code itself, so
// this is for what stands between: a proxy or load balancer that fails is away.
func codeOf(status int) fault.Code {
	switch c := fault.OfStatus(status); c {
	case fault.Internal, fault.Unsupported, "":
		return fault.Unavailable
	default:
		return c
	}
}

// known reports whether a code is one of those that this build decides on.
func known(c fault.Code) bool {
	switch c {
	case fault.Invalid, fault.NotFound, fault.Conflict, fault.Unauthenticated, fault.Denied, fault.Untrusted,
		fault.Unavailable, fault.Exhausted, fault.Unsupported, fault.Cancelled, fault.Nothing, fault.Internal:
		return true
	}
	return false
}
