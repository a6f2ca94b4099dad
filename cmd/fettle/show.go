package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/terminal"
)

// upReport is what `fettle up --once --json` prints.
type upReport struct {
	Hostname string            `json:"hostname"`
	Scanned  time.Time         `json:"scanned"`
	Catalog  int64             `json:"catalog"`
	Console  string            `json:"console"`
	Notes    []string          `json:"notes,omitempty"`
	Missing  []catalog.Finding `json:"missing"`
	// Pinned and held updates are not missing: the administrator of this
	// machine keeps them away.
	KeptAway []catalog.Finding `json:"kept_away,omitempty"`
	// Broken packages are installed only half.
	Broken []catalog.Finding `json:"broken,omitempty"`
}

// show prints what this machine lacks, worst first.
func (r upReport) show(w io.Writer) {
	terminal.Say(w, "\n%s lacks %d updates; catalog version %d", r.Hostname, len(r.Missing), r.Catalog)
	security := 0
	counts := map[patch.Severity]int{}
	for _, f := range r.Missing {
		if f.Security {
			security++
			counts[f.Severity]++
		}
	}
	if security > 0 {
		terminal.Say(w, "%d of them are security updates: %s", security, bySeverity(counts))
	}
	for _, f := range r.Broken {
		terminal.Fold(w, "broken: ", f.Reason)
	}
	for _, n := range r.Notes {
		terminal.Fold(w, "note: ", n)
	}
	if len(r.Missing) == 0 {
		return
	}
	list := slices.Clone(r.Missing)
	slices.SortStableFunc(list, worstFirst)
	fmt.Fprintln(w)
	var rows [][]string
	for _, f := range list {
		security := ""
		if f.Security {
			security = "yes"
		}
		rows = append(rows, []string{string(f.Severity), security, f.Package, f.Installed, f.Available, f.Archive})
	}
	_ = terminal.Table(w, []string{"SEVERITY", "SECURITY", "PACKAGE", "INSTALLED", "AVAILABLE", "FROM"}, rows, "FROM", "INSTALLED") // a terminal that is gone has nobody to be told
}

func bySeverity(counts map[patch.Severity]int) string {
	var parts []string
	for _, s := range []patch.Severity{patch.Critical, patch.Important, patch.Moderate, patch.Low, patch.Unknown} {
		word := string(s)
		if s == patch.Unknown {
			word = "of unknown severity"
		}
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], word))
		}
	}
	return strings.Join(parts, ", ")
}

func worstFirst(a, b catalog.Finding) int {
	if a.Security != b.Security {
		if a.Security {
			return -1
		}
		return 1
	}
	if d := b.Severity.Rank() - a.Severity.Rank(); d != 0 {
		return d
	}
	return strings.Compare(a.Package, b.Package)
}
