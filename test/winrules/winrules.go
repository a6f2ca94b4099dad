// Package winrules evaluates vendors' applicability rules on a throw-away
// Windows machine under Wine, with the agent's own probe: those of a fixture
// whose answers are known there, and all of the real packages where the
// vendors' feeds lie beside the repository.
package winrules

import "github.com/fettlehq/fettle/internal/detect"

// rulesFile is where the rules lie on the machine.
const rulesFile = `C:\rules.json`

// Rule is a rule with what it is known to say there.
type Rule struct {
	Name string       `json:"name"`
	Rule detect.Rule  `json:"rule"`
	Want detect.Value `json:"want,omitempty"` // empty: not known beforehand
}
