package gateway

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

func TestCheckDepth(t *testing.T) {
	for text, ok := range map[string]bool{
		strings.Repeat("[", maxDepth):               true,
		strings.Repeat("[", maxDepth+1):             false,
		strings.Repeat(`{"a":`, maxDepth+1):         false,
		strings.Repeat(`[]`, 1000):                  true,
		`"` + strings.Repeat("[", 1000) + `"`:       true,
		`"\"` + strings.Repeat("[", 1000) + `"`:     true,
		`"\\"` + strings.Repeat("[", maxDepth+1):    false,
		`["a\"]",` + strings.Repeat("[", maxDepth):  false,
		`{"a":"}"}` + strings.Repeat("{", maxDepth): true,
	} {
		if err := checkDepth([]byte(text)); (err == nil) != ok {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// Whatever an agent sends, each message is either refused as Invalid or means
// the same when it is written and read again.
func FuzzStrict(f *testing.F) {
	for _, seed := range []string{
		`{"protocol":1,"root":"ab","now":"2026-11-21T12:00:00Z"}`, `{"events":[{"seq":1,"task":"t","at":"2026-11-21T12:00:00Z"}]}`,
		`{"csr":"AAAA"}`, `{"root":"x","sections":[{"name":"os","hash":"h","body":{"a":[1]}}]}`, `{} {}`, `[[[[`, `"\`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, m := range []any{&wire.CheckIn{}, &wire.Events{}, &wire.EnrollRequest{}, &wire.RenewRequest{}, &wire.Sections{}} {
			err := strict(body, m)
			if err == nil {
				if _, err := json.Marshal(m); err != nil {
					t.Errorf("%T was read and can't be written: %v", m, err)
				}
				continue
			}
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%T: %v", m, err)
			}
		}
		var c wire.CheckIn
		if strict(body, &c) == nil && checkContact(c) == nil && len(c.Sections) > 0 && !isHash(c.Sections[0].Hash) {
			t.Error("a section without hash passes")
		}
	})
}

// Hostile compressed bytes never give more than the bound and never panic.
func FuzzInflate(f *testing.F) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(enc.EncodeAll([]byte(`{"root":"x"}`), nil))
	f.Add(enc.EncodeAll(make([]byte, 1<<16), nil))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(t *testing.T, packed []byte) {
		body, err := inflate(bytes.NewReader(packed))
		if err == nil && len(body) > maxInflated {
			t.Errorf("%d bytes", len(body))
		}
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Exhausted) {
			t.Errorf("%v", err)
		}
	})
}
