package deploy

import (
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Bounds of what an endpoint's word may make the server keep. An honest agent
// stays far below them.
const (
	// MaxReason bounds a reason in bytes; what is longer is cut.
	MaxReason = 16 << 10
	// MaxOutput bounds Result.Output in bytes.
	MaxOutput = 64 << 10
	// MaxSteps bounds the history of a task on which endpoints still have a word.
	MaxSteps = 400
	// MaxPayloads bounds the files of one plan, MaxPayload the bytes of one
	// of them and MaxDownload those of all.
	MaxPayloads = 20000
	MaxPayload  = 16 << 30
	MaxDownload = 64 << 30
)

// Check refuses (Invalid) a plan that no honest agent makes: payloads without a
// SHA-256 in lower-case hex, sizes below zero or beyond reason, too many of
// them. Whether the catalog knows the payloads is for the server to see.
func (p *Plan) Check() error {
	if len(p.Payloads) > MaxPayloads {
		return fault.New(fault.Invalid, "deploy: the plan names %d payloads, at most %d are taken", len(p.Payloads), MaxPayloads)
	}
	var total int64
	for _, x := range p.Payloads {
		if err := checkPayload(x); err != nil {
			return err
		}
		if total += x.Size; total > MaxDownload {
			return fault.New(fault.Invalid, "deploy: the plan's payloads have more than %d bytes together", int64(MaxDownload))
		}
	}
	return nil
}

func checkPayload(x patch.Payload) error {
	if len(x.SHA256) != 64 || strings.Trim(x.SHA256, "0123456789abcdef") != "" {
		return fault.New(fault.Invalid, "deploy: a payload of the plan has no SHA-256 in lower-case hex")
	}
	if x.Size < 0 || x.Size > MaxPayload {
		return fault.New(fault.Invalid, "deploy: payload %s of the plan has %d bytes", x.SHA256, x.Size)
	}
	return nil
}

// clipped returns the result with its output cut to its last MaxOutput bytes.
func (r *Result) clipped() *Result {
	if len(r.Output) <= MaxOutput {
		return r
	}
	out := *r
	out.Output = strings.ToValidUTF8(r.Output[len(r.Output)-MaxOutput:], "")
	return &out
}

// clip cuts a text to at most n bytes.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n-len(" ...")], "") + " ..."
}

// Abandon ends a task whose endpoint was shut out for good, so that nothing
// waits for its word any more. A task that has ended stays as it is.
func Abandon(t Task, now time.Time) Task {
	if t.State.Ended() {
		return t
	}
	t.History = append([]Step(nil), t.History...)
	if begun(t.State) {
		t.move(Failed, "the machine was shut out in mid-task; whether the patches are installed is not known", now)
	} else {
		t.move(TaskCancelled, "the machine was shut out", now)
	}
	return t
}
