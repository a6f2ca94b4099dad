package detect

import "testing"

// windows answers WMI's queries from a table.
type windows struct {
	Facts
	found map[string]bool
}

func (w windows) Query(_, wql string) (bool, error) {
	some, known := w.found[wql]
	if !known {
		return false, Unknown("access is denied")
	}
	return some, nil
}

func TestWMI(t *testing.T) {
	w := windows{found: map[string]bool{"yes": true, "no": false}}
	for query, want := range map[string]Value{"yes": True, "no": False, "other": Undetermined} {
		r := Rule{WMI: &WMI{Namespace: `root\cimv2`, Query: query}}
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
		if got := Eval(r, w); got.Value != want || len(got.Evidence) != 1 {
			t.Errorf("%s: %+v, want %s", query, got, want)
		}
		if got := Eval(r, struct{ Facts }{}); got.Value != Undetermined {
			t.Errorf("without WMI: %s", got.Value)
		}
	}
}
