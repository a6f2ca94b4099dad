// Package approval holds decisions about patches: approve, decline, expire,
// and the rule that folds them into one answer. It is pure: who may decide is
// the API's business, where decisions are kept is the store's.
package approval

import (
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Decision is what was decided.
type Decision string

// The decisions.
const (
	Approve Decision = "approve"
	Decline Decision = "decline"
)

// Approval is one signed-off decision about one patch for one group of a
// tenant, for one endpoint, or for the whole tenant.
type Approval struct {
	ID     string          `json:"id"`
	Tenant estate.TenantID `json:"tenant"`
	// Group narrows the decision; empty means every endpoint of the tenant.
	Group estate.GroupID `json:"group,omitempty"`
	// Endpoint narrows it to one machine, such as one that rolled back.
	Endpoint estate.EndpointID `json:"endpoint,omitempty"`
	Patch    patch.ID          `json:"patch"`
	Decision Decision          `json:"decision"`
	Reason   string            `json:"reason,omitempty"`
	By       string            `json:"by"` // actor's name
	At       time.Time         `json:"at"`
	// Expires ends the decision; zero means never.
	Expires time.Time `json:"expires,omitzero"`
	// Review names when a decline is to be looked at again.
	Review time.Time `json:"review,omitzero"`
	// Withdrawn ends the decision early.
	Withdrawn time.Time `json:"withdrawn,omitzero"`
}

// Validate returns an Invalid fault for a decision that can't be kept: no
// patch, unknown decision, a decline without a reason, an expiry in the past,
// a group and an endpoint at once.
func (a Approval) Validate() error {
	switch {
	case a.Patch == "":
		return fault.New(fault.Invalid, "an approval names no patch")
	case a.Decision != Approve && a.Decision != Decline:
		return fault.New(fault.Invalid, "%q is not a decision", a.Decision).WithHint("use approve or decline")
	case a.Decision == Decline && a.Reason == "":
		return fault.New(fault.Invalid, "declining %s needs a reason", a.Patch).
			WithHint("say why with --reason; auditors and the next administrator will ask")
	case a.Group != "" && a.Endpoint != "":
		return fault.New(fault.Invalid, "the decision on %s names a group and a machine", a.Patch).WithHint("name one of them")
	case !a.Expires.IsZero() && !a.Expires.After(a.At):
		return fault.New(fault.Invalid, "the decision on %s would expire before it is made", a.Patch)
	}
	return nil
}

// Active reports whether the decision counts at the moment now.
func (a Approval) Active(now time.Time) bool {
	if !a.Withdrawn.IsZero() && !a.Withdrawn.After(now) {
		return false
	}
	return a.Expires.IsZero() || a.Expires.After(now)
}

// State is the folded answer for one patch and endpoint.
type State string

// The folded answers.
const (
	Awaiting State = "awaiting_approval"
	Approved State = "approved"
	Declined State = "declined"
)

// Decide folds decisions that apply to an endpoint with the groups; without an
// endpoint ("") only decisions for groups and the tenant count. Decline always
// beats approve; a decision for the tenant counts for every group. It returns
// the decision that settled it, nil while awaiting.
func Decide(all []Approval, id patch.ID, endpoint estate.EndpointID, groups []estate.GroupID, now time.Time) (State, *Approval) {
	var approved *Approval
	for i := range all {
		a := &all[i]
		if a.Patch != id || !a.Active(now) || !a.appliesTo(endpoint, groups) {
			continue
		}
		if a.Decision == Decline {
			return Declined, a
		}
		if approved == nil || a.At.After(approved.At) {
			approved = a
		}
	}
	if approved != nil {
		return Approved, approved
	}
	return Awaiting, nil
}

func (a *Approval) appliesTo(endpoint estate.EndpointID, groups []estate.GroupID) bool {
	if a.Endpoint != "" {
		return a.Endpoint == endpoint
	}
	return a.Group == "" || slices.Contains(groups, a.Group)
}
