package lab

import "math/rand/v2"

// SlowStarted appears on a machine when the postinst of [SlowCase] runs; it
// goes on when SlowContinue exists.
const (
	SlowStarted  = "/run/lab-slow.started"
	SlowContinue = "/run/lab-slow.continue"
)

// SlowCase is a package whose new version stands still in its postinst until
// somebody makes [SlowContinue]: the moment for a kill, a power cut or a
// second dpkg. It gives up after two minutes. It is not in [Scenario].
func SlowCase() Case {
	old, patched := pair("lab-slow")
	patched.Postinst = "#!/bin/sh\nset -e\n[ \"$1\" = configure ] || exit 0\ntouch " + SlowStarted + "\n" +
		"n=0\nwhile [ ! -e " + SlowContinue + " ]; do\n\tsleep 0.1\n\tn=$((n + 1))\n" +
		"\tif [ $n -gt 6000 ]; then echo 'lab-slow: nobody let me go on' >&2; exit 4; fi\ndone\n"
	return Case{
		Package: "lab-slow", Suite: SecuritySuite, Listed: true, Installs: true,
		Old: []Package{old}, New: []Package{patched},
	}
}

// LargeCase is a package whose new version holds size bytes that cannot be
// compressed: for full disks, cut transfers and slow lines. The bytes are the
// same each time. It is not in [Scenario].
func LargeCase(size int) Case {
	old, patched := pair("lab-large")
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{'l', 'a', 'b'}).Read(data) // never fails
	patched.Files["/usr/share/lab-large/data"] = File{Data: data}
	return Case{
		Package: "lab-large", Suite: SecuritySuite, Listed: true, Installs: true,
		Old: []Package{old}, New: []Package{patched},
	}
}
