package cli

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// lifetime is a flag for a length of time: it also reads days, which people
// think in, and refuses what is not more than nothing, which would silently
// mean the default or for ever.
type lifetime time.Duration

const mostDays = 100 * 366 // more is not meant, and does not fit a duration for long

// lifetimeVar adds the flag; what d holds is its default.
func lifetimeVar(f *pflag.FlagSet, d *time.Duration, name, usage string) {
	f.Var((*lifetime)(d), name, usage)
}

func (l *lifetime) Set(text string) error {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		if n > 0 && n <= mostDays {
			d = time.Duration(n * float64(24*time.Hour))
		}
	}
	if err != nil || d <= 0 {
		return errors.New("it must be more than nothing, such as 90m, 12h or 30d")
	}
	*l = lifetime(d)
	return nil
}

func (l *lifetime) String() string {
	if *l == 0 {
		return ""
	}
	text := time.Duration(*l).String()
	for _, zeros := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zeros) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// Type is the word for its values in help.
func (l *lifetime) Type() string { return "duration" }
