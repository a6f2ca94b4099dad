package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fettlehq/fettle/internal/buildinfo"
	"github.com/fettlehq/fettle/internal/fault"
)

// Bounds of every request.
const (
	maxBody     = 4 << 20 // bytes
	strangeBody = 8 << 10 // of those who have not proven who they are; a password of 256 characters fits
	bodyTimeout = 30 * time.Second
	maxWatchers = 256

	maxWatchersOfOne = 16
)

// API answers requests. Create it with New.
type API struct {
	Config

	mux      *recorder
	huma     huma.API
	started  time.Time
	rows     rowCache
	watchers watchers
	refusals refusals
}

// recorder is the router; it remembers what was put into it, so that a test
// can compare it with the table of routes.
type recorder struct {
	*http.ServeMux
	patterns []string
}

// HandleFunc registers a handler.
func (m *recorder) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.HandleFunc(pattern, h)
}

// New returns the API. It fails (Internal) when a route does not declare who
// may use it.
func New(c Config) (*API, error) {
	if c.Poll <= 0 {
		c.Poll = 500 * time.Millisecond
	}
	if c.Heartbeat <= 0 {
		c.Heartbeat = 15 * time.Second
	}
	a := &API{Config: c, mux: &recorder{ServeMux: http.NewServeMux()}, started: c.Now()}
	a.huma = humago.New(a.mux, a.humaConfig())
	for _, rt := range routes() {
		if err := a.mount(rt); err != nil {
			return nil, err
		}
	}
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	a.mux.HandleFunc("GET /readyz", a.readyz)
	a.mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		a.answer(w, r, fault.New(fault.NotFound, "there is no %s %s here", r.Method, r.URL.Path).WithHint("/openapi.yaml lists what there is"))
	})
	a.mux.HandleFunc("/", a.console)
	return a, nil
}

// Handler returns the API with the console behind it.
func (a *API) Handler() http.Handler {
	inner := a.Auth.Sessions(a.mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		inner.ServeHTTP(w, r)
	})
}

// OpenAPI returns the description of the API as YAML (OpenAPI 3.1).
func (a *API) OpenAPI() ([]byte, error) {
	doc, err := a.huma.OpenAPI().YAML()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "api: the description can't be written")
	}
	return doc, nil
}

func (a *API) humaConfig() huma.Config {
	c := huma.DefaultConfig("Fettle", "1")
	c.Info.Description = "Patch management. The version of the running server stands in GET /api/v1/status."
	c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", nil
	c.RejectUnknownQueryParameters = true
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Transformers = []huma.Transformer{asProblem}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key":     {Type: "http", Scheme: "bearer", Description: "An API key"},
		"session": {Type: "apiKey", In: "cookie", Name: "fettle_session", Description: "The console's session"},
	}
	return c
}

// schemaName names a type in the description: types of this package as they
// are called, words with their package before it ("DeployPolicy").
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	word := path.Base(t.PkgPath())
	if t.Name() == "" || t.PkgPath() == typeOf[API]().PkgPath() || strings.HasPrefix(strings.ToLower(name), word) {
		return name
	}
	return strings.ToUpper(word[:1]) + word[1:] + name
}

// mount registers one route of the table.
func (a *API) mount(rt route) error {
	if !rt.access.valid() {
		return fault.New(fault.Internal, "api: %s %s does not say who may use it", rt.method, rt.path)
	}
	op := huma.Operation{
		Method: rt.method, Path: rt.path, OperationID: rt.id, Summary: rt.summary, DefaultStatus: rt.status,
		Tags: []string{rt.tag()}, MaxBodyBytes: rt.access.maxBody(), BodyReadTimeout: bodyTimeout,
		Middlewares: huma.Middlewares{a.guard(rt)},
		Responses:   map[string]*huma.Response{"default": a.problemResponse()},
	}
	if rt.access.where != everyone {
		op.Security = []map[string][]string{{"key": {}}, {"session": {}}}
	}
	if rt.access.need != "" {
		op.Description = "Needs the permission " + string(rt.access.need) + "."
	}
	rt.register(a, rt, op)
	return nil
}

func (a *API) problemResponse() *huma.Response {
	s := a.huma.OpenAPI().Components.Schemas.Schema(typeOf[Problem](), true, "Problem")
	return &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: s}}}
}

// on makes a handler of the API a route's registration: it turns errors into
// problems and audits what changed something.
func on[I, O any](h func(*API, context.Context, *I) (*O, error)) func(*API, route, huma.Operation) {
	return func(a *API, rt route, op huma.Operation) {
		huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
			out, err := h(a, ctx, in)
			err = errors.Join(err, a.record(ctx, rt, err))
			if err != nil {
				return nil, a.explain(err)
			}
			return out, nil
		})
	}
}

// counted is an error of Auth for a guess that stands in the audit log by
// number already (auth.Guess).
type counted interface {
	error
	Counted() bool
}

// record writes the audit entry of a route that changes something, whether it
// did or failed. It happens before the answer leaves: what is not recorded is
// not confirmed.
func (a *API) record(ctx context.Context, rt route, failed error) error {
	var guess counted
	if !rt.changes() || rt.access.where == everyone && (fault.Is(failed, fault.Exhausted) || errors.As(failed, &guess)) {
		return nil // a stranger doesn't get to fill the log
	}
	q := of(ctx)
	action, detail := rt.id, q.detail
	if failed != nil {
		// What was asked for is told too: some of it may have been done.
		action, detail = rt.id+".failed", string(fault.CodeOf(failed))+": "+fault.Public(failed)
		if q.detail != "" {
			detail += "; asked for: " + q.detail
		}
	}
	return a.Audit.Append(context.WithoutCancel(ctx), q.scope.Tenant, q.actor, action, q.object, detail)
}

// explain logs what is the server's fault and returns what may be shown.
func (a *API) explain(err error) *Problem {
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError && p.Code != string(fault.Cancelled) && p.Code != string(fault.Unsupported) {
		a.Log.Error("a request failed", "code", p.Code, "error", err)
	}
	return p
}

func (a *API) writeProblem(ctx huma.Context, err error) {
	_, w := humago.Unwrap(ctx)
	a.send(w, a.explain(err))
}

// answer writes a problem outside of huma.
func (a *API) answer(w http.ResponseWriter, _ *http.Request, err error) { a.send(w, a.explain(err)) }

func (a *API) send(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the peer may be gone
}

func (a *API) readyz(w http.ResponseWriter, r *http.Request) {
	if a.Ready != nil {
		if err := a.Ready(r.Context()); err != nil {
			a.answer(w, r, fault.Wrap(err, fault.Unavailable, "the server is not ready"))
			return
		}
	}
	_, _ = w.Write([]byte("ok\n"))
}

func (a *API) console(w http.ResponseWriter, r *http.Request) {
	if a.Console == nil {
		a.answer(w, r, fault.New(fault.NotFound, "this server has no console"))
		return
	}
	a.Console.ServeHTTP(w, r)
}

func version() string { return buildinfo.Read().Version }
