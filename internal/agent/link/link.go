// Package link talks to the gateway (or a relay): enrolment, check-in,
// inventory, events, the wake channel, the signed repository and payloads. It
// believes a peer only as far as TLS goes; what comes through it is verified by
// whoever asked. The agent only dials out.
package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// Options describe where and how to connect.
type Options struct {
	// Server is the gateway's base address: https://fettle.example:8443.
	Server string
	// TLS carries the agent's certificate and whom to trust.
	TLS *tls.Config
	// Proxy is the URL of an HTTP proxy; empty takes https_proxy and
	// no_proxy from the environment.
	Proxy     string
	UserAgent string
}

// The time limits of a connection.
const (
	dialTimeout   = 30 * time.Second
	answerTimeout = 2 * time.Minute // until the head of an answer
	pingAfter     = 90 * time.Second
	pingTimeout   = 20 * time.Second
	maxReply      = 4 << 20 // bytes of a JSON answer
	maxRefusal    = 64 << 10
)

// Client is a connection to one gateway. It is safe for concurrent use: all
// requests share one HTTP/2 connection.
type Client struct {
	base  *url.URL
	http  *http.Client
	agent string
}

// New returns a client; it connects when first used. An address that is no
// https URL gives fault.Invalid.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.Server)
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return nil, fault.Wrap(err, fault.Invalid, "link: %q is no https address of a server", o.Server).
			WithHint("write it like https://fettle.example:8443")
	}
	base.RawQuery, base.Fragment = "", ""
	proxy := http.ProxyFromEnvironment
	if o.Proxy != "" {
		p, err := url.Parse(o.Proxy)
		if err != nil || p.Host == "" {
			return nil, fault.Wrap(err, fault.Invalid, "link: %q is no address of a proxy", o.Proxy)
		}
		proxy = http.ProxyURL(p)
	}
	t := &http.Transport{
		Proxy:                 proxy,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 2 * time.Minute}).DialContext,
		TLSClientConfig:       o.TLS,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answerTimeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   1,
		IdleConnTimeout:       5 * time.Minute,
		DisableCompression:    true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: pingAfter, PingTimeout: pingTimeout,
			// Small windows: an idle agent must stay small, and downloads
			// run in a process of their own.
			MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 512 << 10,
		},
		WriteBufferSize: 4 << 10, ReadBufferSize: 4 << 10,
	}
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
		return fault.New(fault.Untrusted, "link: the server redirects, which a gateway never does")
	}}
	return &Client{base: base, http: c, agent: o.UserAgent}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Enroll asks for an identity.
func (c *Client) Enroll(ctx context.Context, req wire.EnrollRequest) (reply wire.EnrollReply, err error) {
	err = c.post(ctx, wire.PathEnroll, req, &reply)
	return reply, err
}

// Renew asks for a new certificate for the identity of this connection.
func (c *Client) Renew(ctx context.Context, req wire.RenewRequest) (reply wire.RenewReply, err error) {
	err = c.post(ctx, wire.PathRenew, req, &reply)
	return reply, err
}

// CheckIn reports and asks what is to be done.
func (c *Client) CheckIn(ctx context.Context, in wire.CheckIn) (reply wire.CheckInReply, err error) {
	err = c.post(ctx, wire.PathCheckIn, in, &reply)
	return reply, err
}

// PostEvents sends a batch and returns the number up to which the server has
// taken them.
func (c *Client) PostEvents(ctx context.Context, events []wire.Event) (seq int64, err error) {
	var reply wire.EventsReply
	err = c.post(ctx, wire.PathEvents, wire.Events{Events: events}, &reply)
	return reply.Seq, err
}

func (c *Client) post(ctx context.Context, path string, body, reply any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "link: encode a message for %s", path)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout+dialTimeout)
	defer cancel()
	resp, err := c.do(ctx, http.MethodPost, path, bytes.NewReader(data), "application/json", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return fault.Wrap(err, fault.Unavailable, "link: the server's answer broke off")
	case len(text) > maxReply:
		return fault.New(fault.Untrusted, "link: the server's answer to %s is longer than %d bytes", path, maxReply)
	}
	if err := json.Unmarshal(text, reply); err != nil {
		return fault.Wrap(err, fault.Untrusted, "link: the server's answer to %s is not understood", path)
	}
	return nil
}

// do sends one request and turns every answer but success into a fault.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, kind string, header map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), body)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "link: %s makes no address", path)
	}
	req.Header.Set("User-Agent", c.agent)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreached(ctx, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // an error answer is read as far as it is bounded
	return nil, c.refusal(resp)
}
