package apt

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/deb822"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// pins reads etc/apt/preferences, then preferences.d, as apt does.
func pins(t *collect.Tree) (out []inventory.Pin, errs []error) {
	more, err := parts(t, "etc/apt/preferences.d", "pref")
	if err != nil {
		errs = append(errs, err)
	}
	for _, name := range append([]string{"etc/apt/preferences"}, more...) {
		data, err := read(t, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got, err := parsePins(bytes.NewReader(data))
		out = append(out, got...)
		if err != nil {
			errs = append(errs, fault.Wrap(err, fault.Invalid, "collect/apt: /%s is damaged", name))
		}
	}
	return out, errs
}

// parsePins reads the records of one file. Up to the first damaged record they
// count, as they do for apt.
func parsePins(src io.Reader) ([]inventory.Pin, error) {
	var out []inventory.Pin
	r := deb822.NewReader(src, deb822.Options{Fields: []string{"Package", "Pin", "Pin-Priority"}, Comments: true})
	for r.Next() {
		p := inventory.Pin{Packages: deb822.Words(r.At(0))}
		if len(p.Packages) == 0 {
			return out, fault.New(fault.Invalid, "the record at line %d has no Package", r.Line())
		}
		pin := strings.TrimSpace(string(r.At(1)))
		end := strings.IndexAny(pin, " \t")
		if end < 0 {
			end = len(pin)
		}
		p.Type, p.Value = strings.ToLower(pin[:end]), strings.TrimSpace(pin[end:])
		switch p.Type {
		case "version", "release":
		case "origin": // the quotes are syntax; "" is the local machine
			p.Value = strings.Trim(p.Value, `"`)
		default:
			return out, fault.New(fault.Invalid, "the record at line %d has the unknown pin type %.40q", r.Line(), p.Type)
		}
		n, err := strconv.ParseInt(string(r.At(2)), 10, 16)
		if err != nil || n == 0 {
			return out, fault.New(fault.Invalid, "the record at line %d has no priority between -32768 and 32767 other than 0", r.Line())
		}
		p.Priority = int(n)
		out = append(out, p)
	}
	return out, r.Err()
}
