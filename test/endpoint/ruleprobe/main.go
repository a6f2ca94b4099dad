// Command ruleprobe evaluates detection rules on the machine that it runs on,
// as the agent does: a file of rules as JSON in, one verdict for each out.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/agent/probe"
	"github.com/fettlehq/fettle/internal/detect"
)

func main() {
	if err := answer(context.Background(), os.Args[len(os.Args)-1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ruleprobe:", err)
		os.Exit(1)
	}
}

func answer(ctx context.Context, file string, out io.Writer) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var rules []detect.Rule
	if err := json.Unmarshal(data, &rules); err != nil {
		return err
	}
	snap, _, err := agent.Inventory(ctx, "/", true)
	if err != nil {
		return err
	}
	facts := probe.New(ctx, "/", &snap)
	verdicts := make([]detect.Verdict, 0, len(rules))
	for _, r := range rules {
		verdicts = append(verdicts, detect.Eval(r, facts))
	}
	return json.NewEncoder(out).Encode(verdicts)
}
