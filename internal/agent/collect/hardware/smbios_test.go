package hardware

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/inventory"
)

// structure is one structure with its texts.
func structure(kind byte, fixed []byte, texts ...string) []byte {
	out := append([]byte{kind, byte(4 + len(fixed)), 0, 0}, fixed...)
	for _, t := range texts {
		out = append(out, t...)
		out = append(out, 0)
	}
	if len(texts) == 0 {
		out = append(out, 0)
	}
	return append(out, 0)
}

func table(structures ...[]byte) (out []byte) {
	for _, s := range structures {
		out = append(out, s...)
	}
	return out
}

func TestSMBIOS(t *testing.T) {
	bios := structure(0, []byte{1, 2, 0, 0}, "Maker of firmware", "1.16 ")
	system := structure(1, []byte{1, 2, 0, 3}, "LENOVO", "20XW", "PF123")
	board := structure(2, []byte{1, 1, 1, 1}, "Other")
	end := structure(127, nil)
	given := inventory.Hardware{Vendor: "v", Model: "m", Firmware: "f"}
	for name, c := range map[string]struct {
		table []byte
		want  inventory.Hardware
	}{
		"whole":               {table(bios, board, system, end), inventory.Hardware{Vendor: "LENOVO", Model: "20XW", Serial: "PF123", Firmware: "1.16"}},
		"nothing":             {nil, given},
		"the end comes first": {table(end, system), given},
		"not filled in":       {structure(1, []byte{1, 2, 0, 3}, "To Be Filled By O.E.M.", "System Product Name", "Default string"), given},
		"no such text":        {structure(1, []byte{9, 0, 0, 4}, "a", "b", "c"), given},
		"too short":           {structure(1, []byte{1}, "Maker"), inventory.Hardware{Vendor: "Maker", Model: "m", Firmware: "f"}},
		"cut off":             {system[:len(system)-2], given},
		"a false length":      {[]byte{1, 200, 0, 0, 0, 0}, given},
		"no length":           {[]byte{1, 0, 0, 0, 0, 0}, given},
	} {
		h := given
		smbios(c.table, &h)
		if diff := cmp.Diff(c.want, h); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzSMBIOS(f *testing.F) {
	f.Add(table(structure(0, []byte{1, 2, 0, 0}, "a", "b"), structure(1, []byte{1, 2, 0, 3}, "LENOVO", "20XW", "PF123")))
	f.Fuzz(func(t *testing.T, table []byte) {
		var h inventory.Hardware
		smbios(table, &h)
		if len(h.Vendor)+len(h.Model)+len(h.Serial)+len(h.Firmware) > 4*len(table) {
			t.Fatalf("%+v of %d bytes", h, len(table))
		}
	})
}
