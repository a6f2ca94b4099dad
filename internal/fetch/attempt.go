package fetch

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// temporary marks a failure that another attempt may mend, with the least wait that the server asked for.
type temporary struct {
	err  error
	wait time.Duration
}

func (t *temporary) Error() string { return t.err.Error() }
func (t *temporary) Unwrap() error { return t.err }

// patiently calls do with as much time as size bytes may take.
func (c *Client) patiently(ctx context.Context, u *url.URL, size int64, do func(context.Context) error) error {
	const days = 30 * 24 * 60 * 60 // s
	limit := c.cfg.Patience + time.Duration(min(size/c.cfg.Least, days))*time.Second
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := do(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fault.Wrap(err, fault.Unavailable, "fetch: %s is too slow: it was waited for %s", u.Redacted(), limit)
	}
	return err
}

// retry calls try until it succeeds or fails for good. try tells whether it made progress, which resets the count.
func (c *Client) retry(ctx context.Context, try func() (progress bool, err error)) error {
	for n := 1; ; n++ {
		progress, err := try()
		var temp *temporary
		if err == nil || !errors.As(err, &temp) {
			return err
		}
		if ctx.Err() != nil {
			return fault.Wrap(context.Cause(ctx), fault.Cancelled, "fetch: stopped")
		}
		if progress {
			n = 1
		}
		if n >= c.cfg.Attempts {
			return temp.err
		}
		wait := min(c.cfg.Backoff<<(n-1), c.cfg.MaxWait)
		wait += rand.N(wait/2 + 1)
		if temp.wait > c.cfg.MaxWait {
			return fault.Wrap(temp.err, fault.Unavailable, "fetch: the server asks to come back in %s", temp.wait.Round(time.Second))
		}
		select {
		case <-time.After(max(wait, temp.wait)):
		case <-ctx.Done():
			return fault.Wrap(context.Cause(ctx), fault.Cancelled, "fetch: stopped")
		}
	}
}

// do sends one request when it is the host's turn. The body stops with an error when nothing comes for Config.Stall.
// With a form it asks by POST.
func (c *Client) do(ctx context.Context, u *url.URL, header http.Header, form url.Values) (*http.Response, error) {
	if err := c.turn(ctx, u.Host); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	method, content := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, content = http.MethodPost, strings.NewReader(form.Encode())
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		cancel(nil)
		return nil, fault.Wrap(err, fault.Invalid, "fetch: can't ask for %s", u.Redacted())
	}
	req.Header = header
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	stall := time.AfterFunc(c.cfg.Stall, func() {
		cancel(fault.New(fault.Unavailable, "fetch: %s sent nothing for %s", u.Host, c.cfg.Stall))
	})
	resp, err := c.http.Do(req)
	if err != nil {
		stall.Stop()
		err = c.failed(ctx, u, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &body{resp.Body, func() { stall.Reset(c.cfg.Stall) }, func() { stall.Stop(); cancel(nil) }, func(err error) error { return c.failed(ctx, u, err) }}
	if err := status(u, resp); err != nil {
		_ = resp.Body.Close() // the status is the error
		return nil, err
	}
	return resp, nil
}

// failed explains an error of the transport. A cause of ours, such as a stall, stands in for "context canceled".
func (c *Client) failed(ctx context.Context, u *url.URL, err error) error {
	var f *fault.Error
	cause := context.Cause(ctx)
	if errors.As(cause, &f) && f.Code == fault.Unavailable {
		return &temporary{err: f}
	}
	if cause != nil {
		return fault.Wrap(cause, fault.Cancelled, "fetch: stopped")
	}
	if errors.As(err, &f) { // refused by redirect
		return f
	}
	return &temporary{err: fault.Wrap(err, fault.Unavailable, "fetch: can't get %s", u.Redacted())}
}

// body watches over a response's body.
type body struct {
	io.ReadCloser
	alive  func()
	done   func()
	failed func(error) error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.alive()
	}
	if err != nil && !errors.Is(err, io.EOF) { // io.ErrUnexpectedEOF, a body cut short, is another error
		return n, b.failed(err)
	}
	return n, err
}

func (b *body) Close() error {
	b.done()
	return b.ReadCloser.Close()
}

// status turns the codes that are failures into errors.
func status(u *url.URL, resp *http.Response) error {
	code := resp.StatusCode
	text := strconv.Itoa(code) + " " + http.StatusText(code)
	switch {
	case code == http.StatusOK, code == http.StatusPartialContent, code == http.StatusNotModified, code == http.StatusRequestedRangeNotSatisfiable:
		return nil
	case code == http.StatusNotFound, code == http.StatusGone:
		return fault.New(fault.NotFound, "fetch: %s: the server answered %s", u.Redacted(), text)
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusProxyAuthRequired:
		return fault.New(fault.Denied, "fetch: %s: the server answered %s", u.Redacted(), text)
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout,
		code >= 500 && code != http.StatusNotImplemented && code != http.StatusHTTPVersionNotSupported:
		return &temporary{
			err:  fault.New(fault.Unavailable, "fetch: %s: the server answered %s", u.Redacted(), text),
			wait: retryAfter(resp.Header, time.Now()),
		}
	}
	return fault.New(fault.Invalid, "fetch: %s: the server answered %s", u.Redacted(), text)
}

// retryAfter reads RFC 9110, section 10.2.3: seconds or a date. 0 when there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseInt(v, 10, 32); err == nil && n >= 0 {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}
