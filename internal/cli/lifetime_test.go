package cli

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestLifetime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "720h": 720 * time.Hour, "30d": 720 * time.Hour, "1.5d": 36 * time.Hour,
		"0": 0, "-5h": 0, "-3d": 0, "0d": 0, "d": 0, "soon": 0, "": 0, "NaNd": 0, "Infd": 0, "1e300d": 0,
	} {
		var d time.Duration
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		lifetimeVar(f, &d, "life", "how long")
		if err := f.Set("life", text); d != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %v, %v; want %v", text, d, err, want)
		}
	}
	for d, want := range map[time.Duration]string{24 * time.Hour: "24h", 720 * time.Hour: "720h", 10 * time.Minute: "10m", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s", 0: ""} {
		if got := (*lifetime)(&d).String(); got != want {
			t.Errorf("%v reads %q, want %q", d, got, want)
		}
	}
}
