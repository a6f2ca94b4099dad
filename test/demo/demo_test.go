package main

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestDemoRunsACommandBesideItsMachines also fails when the command fails.
func TestDemoRunsACommandBesideItsMachines(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	var out strings.Builder
	// The command sees the server's network and nothing of the host's.
	check := `ip -br addr show br0 | grep -q 10.77.0.1/24 && ! ip route | grep -q default`
	if err := run(ctx, config{machines: 1, command: []string{"sh", "-c", check}}, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "1 machines are up") {
		t.Errorf("the demo said %q", out.String())
	}
	if err := run(ctx, config{machines: 0, command: []string{"false"}}, &out); err == nil {
		t.Error("a command that failed counts as success")
	}
}
