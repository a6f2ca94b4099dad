package apt

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

const simulation = `Reading package lists...
The following additional packages will be installed:
  lab-newdep-data
7 upgraded, 1 newly installed, 0 to remove and 1 not upgraded.
Inst lab-multi:i386 [1.0-1] (1.0-1+deb12u1 Fettle-Lab-Security:stable-security [i386]) []
Inst lab-multi [1.0-1] (1.0-1+deb12u1 Fettle-Lab-Security:stable-security [amd64])
Inst lab-newdep-data (1.0-1+deb12u1 Fettle-Lab:stable [all])
Inst libc6 [2.36-9] (2:2.36-9+deb12u9 Debian:12.9/oldstable, Debian-Security:12/oldstable-security [amd64]) [libc6-dev:amd64 ]
Remv lab-old [0.9]
Conf lab-multi (1.0-1+deb12u1 Fettle-Lab-Security:stable-security [amd64])
`

func TestParseSimulation(t *testing.T) {
	got := parseSimulation(simulation, map[string]bool{"lab-multi:i386": true, "lab-multi:amd64": true})
	want := []deploy.Change{
		{Package: "lab-multi", Arch: "i386", From: "1.0-1", To: "1.0-1+deb12u1", Why: "approved"},
		{Package: "lab-multi", Arch: "amd64", From: "1.0-1", To: "1.0-1+deb12u1", Why: "approved"},
		{Package: "lab-newdep-data", Arch: "all", To: "1.0-1+deb12u1", Why: "new dependency"},
		{Package: "libc6", Arch: "amd64", From: "2.36-9", To: "2:2.36-9+deb12u9", Why: "dependency"},
		{Package: "lab-old", From: "0.9", Why: "removed"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseURIs(t *testing.T) {
	const root = "/var/lib/fettle/work/t1/apt/archives"
	const sum = "ee24bf5ca80ee90c4f4694f5b18a148682e5c2283fb9dc6e9353bfbbc6ec2175"
	line := func(uri, hash string) string { return "'" + uri + "' x_1_amd64.deb 198320 " + hash + "\n" }
	for _, tc := range []struct {
		name, out string
		want      []patch.Payload
		code      fault.Code
	}{
		{name: "nothing to fetch", out: "Reading package lists...\nAfter this operation, 2048 B of additional disk space will be used.\n"},
		{
			name: "escaped name", out: "Need to get 1 B.\n" + line("file:"+root+"/0123456789abcdef/pool/x_1%2bb1_amd64.deb", "SHA256:"+sum),
			want: []patch.Payload{{SHA256: sum, Size: 198320, Name: "0123456789abcdef/pool/x_1+b1_amd64.deb"}},
		},
		{name: "no hash", out: line("file:"+root+"/0123456789abcdef/pool/x.deb", ""), code: fault.Untrusted},
		{name: "from elsewhere", out: line("http://archive.example/pool/x.deb", "SHA256:"+sum), code: fault.Untrusted},
		{name: "out of the folder", out: line("file:"+root+"/../../x.deb", "SHA256:"+sum), code: fault.Untrusted},
		{name: "size beyond all bounds", out: "'file:" + root + "/a/x.deb' x.deb 99999999999999999999 SHA256:" + sum + "\n", code: fault.Internal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseURIs(tc.out, root)
			if diff := cmp.Diff(tc.want, got); diff != "" || fault.CodeOf(err) != tc.code {
				t.Errorf("error %v, (-want +got):\n%s", err, diff)
			}
		})
	}
}

const policy = `lab-pinned:
  Installed: 1.0-1
  Candidate: 1.0-1
  Package pin: 1.0-1
  Version table:
     1.0-1+deb12u1 1001
        500 file:/x lab/main amd64 Packages
lab-multi:i386:
  Installed: 1.0-1
  Candidate: 1.0-1+deb12u1
lab-gone:
  Installed: (none)
  Candidate: (none)
`

func TestParsePolicy(t *testing.T) {
	want := map[string]string{"lab-pinned:amd64": "1.0-1", "lab-multi:i386": "1.0-1+deb12u1"}
	if diff := cmp.Diff(want, parsePolicy(policy, "amd64")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

const show = `Package: lab-large
Version: 1.0-1+deb12u1
Architecture: all
Installed-Size: 40960
Size: 41950000
Description: a
 Installed-Size: 1

Package: lab-a
Version: 1
Architecture: amd64
Size: 900

Package: lab-lies
Version: 1
Architecture: amd64
Installed-Size: 99999999999999999999
Size: -5
`

func TestParseSizes(t *testing.T) {
	want := map[string]int64{"lab-large all 1.0-1+deb12u1": 41950000, "lab-a amd64 1": 900, "lab-lies amd64 1": 0}
	if diff := cmp.Diff(want, parseSizes(show)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

const unmetOutput = `Some packages could not be installed. This may mean that you have
requested an impossible situation.
The following information may help to resolve the situation:

The following packages have unmet dependencies:
 lab-unmet : Depends: lab-nowhere (>= 2) but it is not installable
 lab-other : Breaks: lab-unmet
             Conflicts: lab-third
`

func TestReasonsOfASimulation(t *testing.T) {
	if got, want := unmet(unmetOutput), "lab-unmet : Depends: lab-nowhere (>= 2) but it is not installable, lab-other : Breaks: lab-unmet, Conflicts: lab-third; "; got != want {
		t.Errorf("unmet: %q, want %q", got, want)
	}
	removed := "The following packages will be REMOVED:\n  lab-worker lab-x\nThe following packages will be upgraded:\n  lab-rival\n"
	if got, want := removals(removed), "it would remove lab-worker, lab-x; "; got != want {
		t.Errorf("removals: %q, want %q", got, want)
	}
	if got := removals(simulation); got != "it would remove lab-old; " {
		t.Errorf("removals of a simulation: %q", got)
	}
	for _, quiet := range []string{"", "The following packages have unmet dependencies:\n"} {
		if got := unmet(quiet) + removals(quiet); got != "" {
			t.Errorf("%q gave the reason %q", quiet, got)
		}
	}
	if got := lastError("E: one\nW: x\n E: two\nE: one\n"); got != "one; two" {
		t.Errorf("lastError: %q", got)
	}
}

const updateOutput = `Get:1 file:/w/apt/archives/0123456789abcdef lab-security InRelease [1712 B]
Err:1 file:/w/apt/archives/0123456789abcdef lab-security InRelease
  The following signatures couldn't be verified because the public key is not available: NO_PUBKEY C8E38036101B4A30
Reading package lists...
W: GPG error: file:/w/apt/archives/0123456789abcdef lab-security InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY C8E38036101B4A30
E: The repository 'file:/w/apt/archives/0123456789abcdef lab-security InRelease' is not signed.
E: Failed to fetch file:/w/apt/archives/fedcba9876543210/dists/lab/main/binary-i386/Packages  Hash Sum mismatch
   Hashes of expected file:
    - Filesize:427 [weak]
    - SHA256:c426
   Hashes of received file:
    - SHA256:23ec
W: file:/w/apt/archives/1111111111111111/dists/x/InRelease: Key is stored in legacy trusted.gpg keyring
W: GPG error: https://archive.example x InRelease: NO_PUBKEY 1
E: Some index files failed to download. They have been ignored, or old ones used instead.
`

func TestRefusals(t *testing.T) {
	want := map[string]string{
		"0123456789abcdef": "GPG error: lab-security InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY C8E38036101B4A30; The repository lab-security InRelease is not signed.",
		"fedcba9876543210": "Failed to fetch dists/lab/main/binary-i386/Packages Hash Sum mismatch: expected SHA256 c426, not 23ec",
	}
	if diff := cmp.Diff(want, refusals(updateOutput)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzParsers(f *testing.F) {
	for _, s := range []string{simulation, policy, show, unmetOutput, updateOutput, "'file:/a/b' c 1 SHA256:" + strings.Repeat("0", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, out string) {
		for _, c := range parseSimulation(out, nil) {
			if c.Package == "" || strings.ContainsAny(c.Package+c.To, " \n") {
				t.Errorf("change %+v", c)
			}
		}
		if list, err := parseURIs(out, "/a"); err == nil {
			for _, p := range list {
				if len(p.SHA256) != 64 || p.Size < 0 || p.Name == "" || strings.HasPrefix(p.Name, "/") {
					t.Errorf("payload %+v", p)
				}
			}
		}
		for name, size := range parseSizes(out) {
			if size < 0 || size > 1<<50 {
				t.Errorf("%s takes %d bytes", name, size)
			}
		}
		for id, reason := range refusals(out) {
			if len(id) != 16 || reason == "" {
				t.Errorf("refusal %q: %q", id, reason)
			}
		}
		parsePolicy(out, "amd64")
		unmet(out)
		removals(out)
		lastError(out)
	})
}
