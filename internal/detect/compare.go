package detect

import (
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/vercmp"
)

func (e Evidence) compare(s vercmp.Scheme, found string, op Op, want string) Evidence {
	c, err := vercmp.Compare(s, found, want)
	if err != nil {
		return e.unknown(Unknown(found + " can't be compared: " + err.Error()))
	}
	return e.found(found, holds(c, op))
}

func (e Evidence) numbers(found string, op Op, want string) Evidence {
	a, errA := strconv.ParseUint(found, 0, 64)
	b, errB := strconv.ParseUint(want, 0, 64)
	switch {
	case errA != nil:
		return e.unknown(Unknown(found + " is not a number"))
	case errB != nil:
		return e.unknown(Unknown("the rule's " + want + " is not a number"))
	case a < b:
		return e.found(found, holds(-1, op))
	case a > b:
		return e.found(found, holds(1, op))
	}
	return e.found(found, holds(0, op))
}

func holds(c int, op Op) bool {
	switch op {
	case EQ:
		return c == 0
	case NE:
		return c != 0
	case LT:
		return c < 0
	case LE:
		return c <= 0
	case GT:
		return c > 0
	case GE:
		return c >= 0
	}
	return false
}

func holdsText(found, want string, op Op) bool {
	switch op {
	case Begins:
		return strings.HasPrefix(found, want)
	case Ends:
		return strings.HasSuffix(found, want)
	case Contains:
		return strings.Contains(found, want)
	}
	return holds(strings.Compare(found, want), op)
}

func scheme(given, otherwise vercmp.Scheme) vercmp.Scheme {
	if given != "" {
		return given
	}
	return otherwise
}

func packageScheme(kind string) vercmp.Scheme {
	switch kind {
	case "dpkg":
		return vercmp.DPKG
	case "rpm":
		return vercmp.RPM
	case "apk":
		return vercmp.APK
	case "pkgutil":
		return vercmp.Apple
	}
	return vercmp.Windows
}

func osScheme(family string) vercmp.Scheme {
	switch family {
	case "darwin":
		return vercmp.Apple
	case "linux":
		return vercmp.DPKG
	}
	return vercmp.Windows
}
