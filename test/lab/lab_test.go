package lab

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testRoot builds or finds the shared root.
func testRoot(t *testing.T) (context.Context, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	t.Cleanup(cancel)
	root, err := Base(ctx, "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return ctx, root
}

// testFleet is a fleet that ends with the test and prints its machines' logs
// if the test fails.
func testFleet(t *testing.T) (context.Context, *Fleet) {
	t.Helper()
	ctx, root := testRoot(t)
	f, err := NewFleet(ctx, root, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range f.machines {
			if t.Failed() {
				_ = m.Logs(context.WithoutCancel(ctx), t.Output())
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx, f
}

func TestMachineLifeCycle(t *testing.T) {
	ctx, f := testFleet(t)
	m, err := f.Start(ctx, "web1", MachineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want string
		argv       []string
	}{
		{"own host name", "web1\n", []string{"hostname"}},
		{"own address", "10.77.0.11/24", []string{"ip", "-4", "-o", "addr", "show", "eth0"}},
		{"systemd is process 1", "systemd\n", []string{"ps", "-p", "1", "-o", "comm="}},
		{"no way out", "10.77.0.0/24", []string{"ip", "route"}},
		{"sources of this machine", "-security/InRelease", []string{"apt-get", "update", "--print-uris"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := m.Run(ctx, tc.argv...)
			if err != nil || !strings.Contains(out, tc.want) {
				t.Errorf("%v: %q, %v; want %q in it", tc.argv, out, err, tc.want)
			}
		})
	}
	if out, _ := m.Run(ctx, "ip", "route"); strings.Contains(out, "default") {
		t.Errorf("the machine has a default route: %s", out)
	}
	t.Run("exit status and streams", func(t *testing.T) {
		res, err := m.Exec(ctx, "sh", "-c", "echo out; echo err >&2; exit 7")
		if want := (Result{"out\n", "err\n", 7}); err != nil || res != want {
			t.Errorf("got %+v, %v; want %+v", res, err, want)
		}
	})
	t.Run("a command ends with its context", func(t *testing.T) {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if _, err := m.Exec(short, "sleep", "1000"); err == nil {
			t.Error("a killed command reported success")
		}
		if res, err := m.Exec(ctx, "pgrep", "-f", "^sleep 1000$"); err != nil || res.Code != 1 {
			t.Errorf("the killed command still runs: %+v, %v", res, err)
		}
	})
	t.Run("files", func(t *testing.T) { testCopyIn(ctx, t, m) })
	t.Run("reboot", func(t *testing.T) { testReboot(ctx, t, m) })
	t.Run("power cut", func(t *testing.T) { testPowerCut(ctx, t, m) })
	t.Run("power off", func(t *testing.T) {
		if err := m.PowerOff(ctx); err != nil {
			t.Fatal(err)
		}
		if m.On() {
			t.Error("the machine is still on")
		}
		if _, err := m.Exec(ctx, "true"); err == nil {
			t.Error("a machine that is off ran a command")
		}
		if err := m.PowerOn(ctx); err != nil {
			t.Error(err)
		}
	})
}

func testCopyIn(ctx context.Context, t *testing.T, m *Machine) {
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "tool"), []byte("#!/bin/sh\necho copied\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.CopyIn(ctx, filepath.Join(src, "tool"), "/opt/deep/tool"); err != nil {
		t.Fatal(err)
	}
	if err := m.CopyIn(ctx, src, "/opt/dir"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/opt/deep/tool", "/opt/dir/tool"} {
		if out, err := m.Run(ctx, path); err != nil || out != "copied\n" {
			t.Errorf("%s: %q, %v", path, out, err)
		}
	}
}

func testReboot(ctx context.Context, t *testing.T, m *Machine) {
	before, err := m.BootID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Run(ctx, "touch", "/var/kept", "/run/lost"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := m.Reboot(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("reboot took %v", time.Since(start))
	after, err := m.BootID(ctx)
	if err != nil || after == before || after == "" {
		t.Errorf("boot id %q, then %q, %v", before, after, err)
	}
	if res, err := m.Exec(ctx, "sh", "-c", "test -e /var/kept && test ! -e /run/lost"); err != nil || res.Code != 0 {
		t.Errorf("files after the reboot: %+v, %v", res, err)
	}
}

func testPowerCut(ctx context.Context, t *testing.T, m *Machine) {
	before, err := m.BootID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m.PowerCut()
	if m.On() {
		t.Fatal("the machine is on after its cord was pulled")
	}
	if err := m.PowerOn(ctx); err != nil {
		t.Fatal(err)
	}
	if after, err := m.BootID(ctx); err != nil || after == before {
		t.Errorf("boot id %q, then %q, %v", before, after, err)
	}
}

// TestServicesAreThoseOfARealMachine looks at what an agent depends on: units
// with a sandbox work, a process is found under its unit, and machines do not
// meddle with each other's units of the same name.
func TestServicesAreThoseOfARealMachine(t *testing.T) {
	ctx, f := testFleet(t)
	var machines []*Machine
	for _, name := range []string{"one", "two"} {
		m, err := f.Start(ctx, name, MachineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		machines = append(machines, m)
		if _, err := m.Run(ctx, "systemd-run", "--unit=same", "sleep", "1000"); err != nil {
			t.Fatal(err)
		}
	}
	pid := func(m *Machine) string {
		t.Helper()
		out, err := m.Run(ctx, "systemctl", "show", "-P", "MainPID", "same")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	groups, err := machines[0].Run(ctx, "cat", "/proc/"+pid(machines[0])+"/cgroup")
	if err != nil || !strings.Contains(groups, "/system.slice/same.service\n") {
		t.Errorf("control groups of the service: %v\n%s", err, groups)
	}
	if _, err := machines[0].Run(ctx, "systemctl", "stop", "same"); err != nil {
		t.Fatal(err)
	}
	if p := pid(machines[1]); p == "0" {
		t.Error("stopping a unit on one machine stopped it on the other")
	}
	out, err := machines[1].Run(ctx, "systemd-run", "--wait", "--pipe",
		"-p", "PrivateTmp=yes", "-p", "ProtectHome=yes", "-p", "ProtectKernelTunables=yes", "-p", "ProtectControlGroups=yes",
		"-p", "NoNewPrivileges=yes", "-p", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", "-p", "MemoryDenyWriteExecute=yes",
		"-p", "SystemCallFilter=@system-service", "-p", "StateDirectory=sandboxed", "-p", "RestrictSUIDSGID=yes", "-p", "LockPersonality=yes",
		"sh", "-c", "touch /var/lib/sandboxed/x && ls -d /home/* 2>&1; echo done")
	if err != nil || !strings.HasSuffix(out, "done\n") {
		t.Errorf("a sandboxed unit: %q, %v", out, err)
	}
}

func TestCell(t *testing.T) {
	ctx, f := testFleet(t)
	c, err := f.NewCell(ctx, "cell", 1<<20, func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "mine"), []byte("text"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	url, err := f.Serve(ctx, ServerAddr+":8080", http.FileServer(http.Dir(t.TempDir())))
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(url, "http://")
	for _, tc := range []struct{ name, script, want string }{
		{"own host name", "hostname", "cell\n"},
		{"own address", "ip -4 -o addr show eth0", c.Addr + "/24"},
		{"own processes", "test $$ -lt 100 && echo few", "few"},
		{"own folder", "cat " + c.Dir() + "/mine", "text"},
		{"own empty /tmp", "ls /tmp | wc -l", "0\n"},
		{"own environment", "echo $COLOUR$HOME.", "green.\n"},
		{"no way out", "ip route | grep -c default", "0\n"},
		{"reaches the server", "bash -c 'exec 3<>/dev/tcp/" + strings.Replace(addr, ":", "/", 1) + "' && echo reached", "reached"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd, err := c.Command(ctx, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "COLOUR=green"}, "sh", "-c", tc.script)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := cmd.Output(); !strings.Contains(string(out), tc.want) {
				t.Errorf("%s: %q, %v; want %q in it", tc.script, out, err, tc.want)
			}
		})
	}
	if _, err := f.Start(ctx, "cell", MachineOptions{}); err == nil {
		t.Error("a machine got the name of a cell")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Command(ctx, nil, "true"); err == nil {
		t.Error("a closed cell takes commands")
	}
}
