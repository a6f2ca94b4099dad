package api

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/time/rate"

	"github.com/fettlehq/fettle/internal/door"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// place says in which scope a route needs its permission.
type place int

const (
	nowhere   place = iota // the zero value is refused when the table is read
	onServer               // in the scope of the whole server
	inTenant               // in the tenant that the path names
	somewhere              // in the whole server or a whole tenant; the route works there
	signedIn               // no permission, but a proven caller
	everyone               // no caller at all
)

// access is what a route asks of its caller.
type access struct {
	where place
	need  estate.Permission
}

func server(p estate.Permission) access { return access{onServer, p} }
func tenant(p estate.Permission) access { return access{inTenant, p} }
func within(p estate.Permission) access { return access{somewhere, p} }
func anyActor() access                  { return access{where: signedIn} }
func public() access                    { return access{where: everyone} }

// valid reports whether the access was declared and is whole.
func (a access) valid() bool {
	switch a.where {
	case onServer, inTenant, somewhere:
		return a.need != ""
	case signedIn, everyone:
		return a.need == ""
	}
	return false
}

// maxBody bounds what is read of a request, in bytes: many strangers at once
// must not fill the memory.
func (a access) maxBody() int64 {
	if a.where == everyone {
		return strangeBody
	}
	return maxBody
}

// asked is a request that was let through: who, where, and what the audit log
// is to say of it.
type asked struct {
	actor   estate.Actor
	scope   estate.Scope
	address string
	object  string
	detail  string
}

type askedKey struct{}

// of returns the request's asked.
func of(ctx context.Context) *asked {
	if a, ok := ctx.Value(askedKey{}).(*asked); ok {
		return a
	}
	return &asked{} // no grants: nothing is reachable
}

// note says what was changed, for the audit log.
func note(ctx context.Context, object, detail string) {
	a := of(ctx)
	a.object, a.detail = object, detail
}

// guard is the middleware of one route: it proves the caller and checks the
// permission before a byte of the body is read.
func (a *API) guard(rt route) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, _ := humago.Unwrap(ctx)
		q := &asked{address: addressOf(r), object: r.URL.Path}
		err := a.admit(ctx.Context(), r, rt, q)
		if err != nil {
			a.writeProblem(ctx, err)
			return
		}
		next(huma.WithValue(ctx, askedKey{}, q))
	}
}

func (a *API) admit(ctx context.Context, r *http.Request, rt route, q *asked) error {
	if rt.access.where == everyone {
		return nil
	}
	actor, err := a.Auth.Actor(r)
	if err != nil {
		return err
	}
	q.actor = actor
	door.Belongs(ctx, actor.Kind+" "+actor.ID)
	id := estate.TenantID(r.PathValue("t"))
	allowed := false
	switch rt.access.where {
	case onServer:
		q.scope, allowed = estate.Everything(), actor.Can(rt.access.need, estate.Everything())
	case inTenant:
		// The permission comes first: who may not enter learns nothing of
		// whether the tenant exists.
		q.scope, allowed = estate.InTenant(id), id != "" && actor.Can(rt.access.need, estate.InTenant(id))
	case somewhere:
		q.scope, allowed = widest(actor, rt.access.need)
	case signedIn:
		allowed = true
	}
	if !allowed {
		return a.refuse(ctx, rt, q, id)
	}
	if rt.access.where == inTenant {
		if _, err := a.Data(q.scope).Tenant(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// refuse audits and answers what the caller may not do. It stands in the
// chain of the caller's own tenant, never in one that the caller can't enter.
func (a *API) refuse(ctx context.Context, rt route, q *asked, id estate.TenantID) error {
	home := estate.TenantID("")
	if len(q.actor.Grants) > 0 {
		home = q.actor.Grants[0].Scope.Tenant
	}
	detail := "needs " + string(rt.access.need)
	switch a.refusals.record(q.actor, a.Now()) {
	case forget:
	case last:
		detail += "; this one asks so often that its next refusals are not recorded"
		fallthrough
	case keep:
		if err := a.Audit.Append(ctx, home, q.actor, rt.id+".denied", q.object, detail); err != nil {
			return err
		}
	}
	where := "on the whole server"
	if id != "" {
		where = "in tenant " + string(id)
	}
	return fault.New(fault.Denied, "%s may not do this: it needs the permission %s %s", q.actor.Name, rt.access.need, where).
		WithHint("an administrator can grant a role that has it")
}

// refusals bounds how many of them each actor leaves in the audit log, which
// keeps everything for ever: refusalBurst at once, then one in each refusalGap.
type refusals struct {
	mu sync.Mutex
	of map[string]*refused
}

type refused struct {
	limit *rate.Limiter
	quiet bool // the log says that more followed
}

const (
	refusalBurst = 60
	refusalGap   = 10 * time.Second
)

// What becomes of a refusal.
type recording int

const (
	forget recording = iota
	keep
	last // before those that are forgotten
)

func (r *refusals) record(actor estate.Actor, now time.Time) recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	who := actor.Kind + " " + actor.ID
	if r.of == nil {
		r.of = map[string]*refused{}
	}
	one := r.of[who]
	if one == nil {
		one = &refused{limit: rate.NewLimiter(rate.Every(refusalGap), refusalBurst)}
		r.of[who] = one
	}
	if !one.limit.AllowN(now, 1) {
		return forget
	}
	was := one.quiet
	one.quiet = one.limit.TokensAt(now) < 1
	if one.quiet && !was {
		return last
	}
	return keep
}

// widest returns the widest scope, server or tenant, in which the actor holds
// the permission.
func widest(actor estate.Actor, need estate.Permission) (estate.Scope, bool) {
	if actor.Can(need, estate.Everything()) {
		return estate.Everything(), true
	}
	for _, g := range actor.Grants {
		if s := g.Scope; s.Site == "" && actor.Can(need, s) {
			return s, true
		}
	}
	return estate.Scope{}, false
}

// addressOf is the peer's address without the port.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
