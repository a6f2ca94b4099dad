package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// client speaks to the REST API.
type client struct {
	base string
	key  string
	http *http.Client
	o    *options
}

// settings is ~/.config/fettle/cli.json, and what a server on this machine
// leaves in its data folder for the local operator.
type settings struct {
	Server string `json:"server"`
	Key    string `json:"key"`
	// CA is a PEM file of certificates to trust besides the system's.
	CA string `json:"ca,omitempty"`
}

// connect finds the server and the key: flag and environment first, then the
// person's settings, then the data folder of a server on this machine.
func (o *options) connect() (*client, error) {
	c := &client{o: o, http: &http.Client{Timeout: 5 * time.Minute}, base: o.server, key: os.Getenv("FETTLE_API_KEY")}
	ca := os.Getenv("FETTLE_CA")
	for _, file := range o.settingsFiles() {
		if c.base != "" && c.key != "" {
			break
		}
		s, err := readSettings(file)
		if err != nil {
			return nil, err
		}
		if c.base == "" {
			c.base = s.Server
		}
		if c.base != s.Server {
			continue
		}
		c.key, ca = cmp.Or(c.key, s.Key), cmp.Or(ca, s.CA)
	}
	if c.base == "" {
		return nil, fault.New(fault.Unavailable, "no server is known").
			WithHint("start one with 'fettle up', or name one with --server and $FETTLE_API_KEY, or --data with the data folder of a server on this machine")
	}
	c.base = strings.TrimRight(c.base, "/")
	if u, err := url.Parse(c.base); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fault.New(fault.Invalid, "%q is not a server address", c.base).WithHint("write it whole, such as https://patch.example.org:8780")
	}
	return c, c.trust(ca)
}

// trust makes the client accept servers of the CAs in the file as well.
func (c *client) trust(file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "the CA file %s can't be read", file)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return fault.New(fault.Invalid, "%s holds no certificate", file).WithHint("it must be a PEM file; the server's own is in its data folder, server/ca")
	}
	plain, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return fault.New(fault.Internal, "cli: no transport")
	}
	tr := plain.Clone()
	tr.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	c.http.Transport = tr
	return nil
}

func (o *options) settingsFiles() []string {
	files := []string{}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "fettle", "cli.json"))
	}
	return append(files, filepath.Join(o.data, "operator.json"))
}

func readSettings(file string) (settings, error) {
	var s settings
	body, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return s, nil
	case errors.Is(err, os.ErrPermission):
		return s, fault.Wrap(err, fault.Denied, "%s can't be read", file).WithHint("run as the server's user, or use an API key of your own in $FETTLE_API_KEY")
	case err != nil:
		return s, fault.Wrap(err, fault.Unavailable, "%s can't be read", file)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fault.Wrap(err, fault.Invalid, "%s is not JSON", file).WithHint(`write {"server":"https://...","key":"..."}`)
	}
	return s, nil
}

// tenantPath returns the path of a tenant's resource; parts are escaped.
func (c *client) tenantPath(parts ...string) string {
	var path strings.Builder
	path.WriteString("/api/v1/tenants/" + url.PathEscape(c.o.tenant))
	for _, p := range parts {
		path.WriteString("/" + url.PathEscape(p))
	}
	return path.String()
}

// call makes one request; in and out may be nil.
func (c *client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	resp, err := c.open(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fault.Wrap(err, fault.Unavailable, "the server's answer is not what this version of fettle expects").
			WithHint("compare 'fettle --version' with 'fettle status'")
	}
	return nil
}

// open makes one request and leaves the body to the caller.
func (c *client) open(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "encode the request")
		}
		body = bytes.NewReader(b)
	}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "%q is not a server address", c.base)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		return nil, fault.Wrap(err, fault.Untrusted, "the server at %s is not trusted", c.base).
			WithHint("name the CA's certificate in $FETTLE_CA, or as \"ca\" in cli.json; the server has it in its data folder, server/ca")
	case err != nil:
		return nil, c.silent(err)
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		return nil, problem(resp)
	}
	return resp, nil
}

// silent explains why no answer came.
func (c *client) silent(err error) error {
	if errors.Is(err, context.Canceled) {
		return fault.New(fault.Cancelled, "stopped before the server at %s had answered", c.base)
	}
	if u, ok := errors.AsType[*url.Error](err); ok { // without the whole address, which stands there already
		err = u.Err
	}
	hint := "is it running? 'fettle up' starts one on this machine"
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		hint = "it speaks plain HTTP: use http:// instead of https://"
	}
	return fault.Wrap(err, fault.Unavailable, "the server at %s does not answer", c.base).WithHint("%s", hint)
}

// problem turns an error answer (RFC 9457) into a fault.
func problem(resp *http.Response) error {
	var p struct {
		Title, Detail, Code, Hint string
		Errors                    []struct{ Message, Location string }
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err := json.Unmarshal(body, &p); err != nil || (p.Detail == "" && p.Title == "") {
		return fault.New(fault.OfStatus(resp.StatusCode), "the server answered %s", resp.Status).
			WithHint("is this the server's address for people and programs (--admin, port 8780), with https:// where it uses TLS?")
	}
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	for _, e := range p.Errors {
		if e.Message != "" && e.Message != text {
			text += "; " + strings.TrimSpace(e.Location+" "+e.Message)
		}
	}
	code := fault.Code(p.Code)
	if code == "" {
		code = fault.OfStatus(resp.StatusCode)
	}
	f := fault.New(code, "%s", text)
	switch {
	case p.Hint != "":
		f = f.WithHint("%s", p.Hint)
	case code == fault.NotFound && strings.HasPrefix(text, "tenant "):
		f = f.WithHint("'fettle tenants' lists tenants")
	}
	return f
}

// page is one page of a list.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// all follows a list to its end.
func all[T any](ctx context.Context, c *client, path string, query url.Values) ([]T, error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", "1000")
	items := []T{}
	for {
		var p page[T]
		if err := c.call(ctx, http.MethodGet, path, query, nil, &p); err != nil {
			return nil, err
		}
		items = append(items, p.Items...)
		if p.Next == "" {
			return items, nil
		}
		query.Set("after", p.Next)
	}
}
