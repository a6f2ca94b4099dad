package api

import (
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fettlehq/fettle/internal/fault"
)

// Problem is an error answer (RFC 9457) with the fault's code and hint.
type Problem struct {
	Title  string `json:"title" doc:"The status in words"`
	Status int    `json:"status" doc:"HTTP status"`
	Detail string `json:"detail" doc:"What happened"`
	// Code is what programs decide on.
	Code   string          `json:"code" doc:"What kind of error it is; programs decide on it"`
	Hint   string          `json:"hint,omitempty" doc:"What to do next"`
	Errors []ProblemDetail `json:"errors,omitempty" doc:"What is wrong with the request, part by part"`
}

// ProblemDetail names one part of a request that is wrong. It never repeats
// the value, which may be a secret.
type ProblemDetail struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty"`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status, for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType names the media type of problems, for huma.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// problemOf turns a fault into what may be shown: messages and hint, never a
// private cause.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	code := fault.CodeOf(err)
	status := fault.Status(code)
	return &Problem{
		Title: http.StatusText(status), Status: status, Detail: fault.Public(err),
		Code: string(code), Hint: fault.HintOf(err),
	}
}

// asProblem is a transformer that gives huma's own errors our form.
func asProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := fault.OfStatus(m.Status)
	p := &Problem{Title: m.Title, Status: m.Status, Detail: m.Detail, Code: string(code)}
	if code == fault.Internal {
		p.Detail = "an internal error occurred; the server's log names it"
		return p, nil
	}
	for _, e := range m.Errors {
		if e != nil {
			p.Errors = append(p.Errors, ProblemDetail{Message: e.Message, Location: e.Location})
		}
	}
	if len(p.Errors) > 0 {
		p.Detail = "the request is not well-formed"
		p.Hint = "the API's description at /openapi.yaml says what each request takes"
	}
	return p, nil
}
