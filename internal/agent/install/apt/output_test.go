package apt

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/run"
)

const transcript = "Reading package lists...\r\n" +
	"Get:1 file:/w lab/main amd64 lab-a all 1 [900 B]\n" +
	"(Reading database ... \r(Reading database ... 5%\r(Reading database ... 10136 files and directories currently installed.)\r\n" +
	"Preparing to unpack .../0-lab-failing_1.0-1+deb12u1_all.deb ...\r\n" +
	"Unpacking lab-failing (1.0-1+deb12u1) over (1.0-1) ...\r\n" +
	"Preparing to unpack .../1-lab-large_1.0-1+deb12u1_amd64.deb ...\r\n" +
	"Unpacking lab-large (1.0-1+deb12u1) over (1.0-1) ...\r\n" +
	"dpkg: error processing archive /tmp/apt-dpkg-install-x/1-lab-large_1.0-1+deb12u1_amd64.deb (--unpack):\r\n" +
	" cannot copy extracted data for './usr/share/lab-large/data': failed to write (No space left on device)\r\n" +
	"Preparing to unpack .../2-lab-pre_1_i386.deb ...\r\n" +
	"lab-pre: not on this machine\r\n" +
	"dpkg: error processing archive /tmp/x/2-lab-pre_1_i386.deb (--unpack):\r\n" +
	" new lab-pre package pre-installation script subprocess returned error exit status 1\r\n" +
	"Setting up lab-multi:i386 (1) ...\r\n" +
	"Setting up lab-failing (1.0-1+deb12u1) ...\r\n" +
	"one\r\ncannot migrate the database\r\n" +
	"dpkg: error processing package lab-failing (--configure):\r\n" +
	" installed lab-failing package post-installation script subprocess returned error exit status 3\r\n" +
	"dpkg: dependency problems prevent configuration of lab-needs:amd64:\r\n" +
	" lab-needs depends on lab-failing (>= 1); however:\r\n" +
	"  Package lab-failing is not configured yet.\r\n" +
	"\r\n" +
	"dpkg: error processing package lab-needs:amd64 (--configure):\r\n" +
	" dependency problems - leaving unconfigured\r\n" +
	"Errors were encountered while processing:\r\n lab-failing\r\n" +
	"E: Sub-process /usr/bin/dpkg returned an error code (1)\n"

func feed(text string) (*output, []install.Progress) {
	var all []install.Progress
	o := newOutput(4, func(p install.Progress) { all = append(all, p) })
	for line := range strings.Lines(text) {
		o.line(run.Stdout, strings.TrimSuffix(line, "\n"))
	}
	return o, all
}

func TestOutputNamesTheTrueReason(t *testing.T) {
	o, _ := feed(transcript)
	want := map[string]string{
		"lab-failing":     "installed lab-failing package post-installation script subprocess returned error exit status 3; its script said: one | cannot migrate the database",
		"lab-large:amd64": "cannot copy extracted data for './usr/share/lab-large/data': failed to write (No space left on device)",
		"lab-pre:i386":    "new lab-pre package pre-installation script subprocess returned error exit status 1; its script said: lab-pre: not on this machine",
		"lab-needs:amd64": "dependency problems - leaving unconfigured: lab-needs depends on lab-failing (>= 1); however: Package lab-failing is not configured yet.",
	}
	if diff := cmp.Diff(want, o.reasons); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !o.touched || len(o.errors) != 0 || !strings.Contains(o.full, "No space left on device") {
		t.Errorf("touched %v, errors %q, full %q", o.touched, o.errors, o.full)
	}
	if o.reason("lab-large", "lab-large:amd64") == "" || o.reason("lab-failing", "lab-failing:amd64") == "" || o.reason("lab-a", "lab-a:amd64") != "" {
		t.Error("reasons are not found by name and architecture")
	}
	if strings.ContainsRune(o.tail(), '\r') || !strings.HasSuffix(o.tail(), "error code (1)") {
		t.Errorf("tail: %q", o.tail())
	}
}

func TestOutputBeforeDpkgBegins(t *testing.T) {
	for _, tc := range []struct{ text, errors, full string }{
		{"E: Failed to fetch file:/x  Hash Sum mismatch\nE: Unable to fetch some archives\n", "Failed to fetch file:/x  Hash Sum mismatch|Unable to fetch some archives", ""},
		{
			"dpkg: unrecoverable fatal error, aborting:\n unable to fill tmp.i with padding: No space left on device\nE: Sub-process /usr/bin/dpkg returned an error code (2)\n",
			"dpkg: unable to fill tmp.i with padding: No space left on device", "the disk is full: unable to fill tmp.i with padding: No space left on device",
		},
		{"dpkg: error: dpkg frontend lock was locked by another process with pid 7\n", "dpkg: error: dpkg frontend lock was locked by another process with pid 7", ""},
	} {
		o, _ := feed(tc.text)
		if got := strings.Join(o.errors, "|"); got != tc.errors || o.full != tc.full || o.touched {
			t.Errorf("%q gave errors %q, full %q, touched %v", tc.text, got, o.full, o.touched)
		}
	}
}

func TestOutputKeepsABoundedTail(t *testing.T) {
	o, _ := feed(strings.Repeat("a line of output\n", 20000) + "the end\n")
	if n := len(o.tail()); n > maxTail || n < maxTail/2 || !strings.HasSuffix(o.tail(), "the end") {
		t.Errorf("tail of %d bytes", n)
	}
}

func FuzzOutput(f *testing.F) {
	f.Add(transcript)
	f.Fuzz(func(t *testing.T, text string) {
		o, progress := feed(text)
		last := 0
		for _, p := range progress {
			if p.Percent < last || p.Percent > 99 {
				t.Fatalf("progress went from %d to %d", last, p.Percent)
			}
			last = p.Percent
		}
		if len(o.tail()) > maxTail {
			t.Errorf("tail of %d bytes", len(o.tail()))
		}
		for pkg, reason := range o.reasons {
			if reason == "" || (utf8.ValidString(text) && !utf8.ValidString(pkg)) {
				t.Errorf("%q failed for %q", pkg, reason)
			}
		}
	})
}
