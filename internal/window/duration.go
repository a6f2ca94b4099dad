package window

import (
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Duration is a time.Duration that reads and writes as text such as "90m" or
// "4h30m" in JSON and YAML (time.ParseDuration's form).
type Duration time.Duration

// Std returns the standard library's duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// IsZero reports whether the duration is zero, for omitzero.
func (d Duration) IsZero() bool { return d == 0 }

// String returns time.Duration's text.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it returns an Invalid
// fault for text that is no duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "%q is not a duration", text).
			WithHint("write it like 90m, 4h or 1h30m")
	}
	*d = Duration(v)
	return nil
}
