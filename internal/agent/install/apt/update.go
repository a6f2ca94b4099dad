package apt

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// update lets apt-get read the local archives: it verifies each InRelease
// against the machine's own keyrings and every index by hash. An archive that
// apt refuses is taken out; the machine may well not know its vendor. Only
// when that leaves none of the job's patches is it an error.
func (w *workspace) update(ctx context.Context, archives []catalog.Archive) error {
	for {
		text, failed, err := w.updateOnce(ctx)
		if err != nil {
			return err
		}
		bad := refusals(text)
		maps.DeleteFunc(bad, func(id, _ string) bool { return w.refused[id] != "" })
		if len(bad) == 0 && failed {
			return fault.New(updateCode(text), "apt can't read the archive snapshots: %s", lastError(text))
		}
		if len(bad) == 0 {
			if bad, err = w.unproven(ctx, archives); err != nil {
				return err
			}
		}
		if len(bad) == 0 {
			return w.anyLeft()
		}
		for id, reason := range bad {
			w.refused[id] = label(archives, id) + ": " + reason
			if err := os.Remove(w.path("sources", id+".sources")); err != nil {
				return fault.Wrap(err, fault.Internal, "apt: leave out the archive %s", id)
			}
		}
	}
}

func (w *workspace) updateOnce(ctx context.Context) (text string, failed bool, err error) {
	res, err := w.aptGet(ctx, updateTimeout, nil, "update")
	return string(res.Stdout) + "\n" + string(res.Stderr), res.ExitCode != 0, err
}

func updateCode(text string) fault.Code {
	if strings.Contains(text, "No space left on device") {
		return fault.Exhausted
	}
	return fault.Internal
}

func label(archives []catalog.Archive, id string) string {
	for _, a := range archives {
		if a.ID == id {
			return strings.TrimSpace(a.Label+" "+a.Path) + " of " + a.Date.UTC().Format("2006-01-02 15:04")
		}
	}
	return id
}

// refusals finds which archives apt-get update complains about, by id, with
// apt's words. Warnings count: apt would go on without the archive.
func refusals(text string) map[string]string {
	out := map[string]string{}
	id := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, " ") && id != "" { // what was expected, then what came
			if _, hash, ok := strings.Cut(line, "- SHA256:"); ok {
				out[id] += map[bool]string{true: ", not ", false: ": expected SHA256 "}[strings.Contains(out[id], "expected SHA256")] + hash
			}
			continue
		}
		id = ""
		sentence, ok := strings.CutPrefix(line, "E: ")
		if !ok {
			sentence, ok = strings.CutPrefix(line, "W: ")
		}
		if !ok || !slices.ContainsFunc(refusalSigns, func(s string) bool { return strings.Contains(line, s) }) {
			continue
		}
		if id = archiveIn(line); id == "" {
			continue
		}
		if out[id] != "" {
			out[id] += "; "
		}
		out[id] += strings.TrimSpace(sentence)
	}
	for id, reason := range out {
		out[id] = tidy(reason, id)
	}
	return out
}

// refusalSigns mark a line of apt that is about trust or hashes, not a remark.
var refusalSigns = []string{
	"GPG error", "is not signed", "Failed to fetch", "couldn't be verified", "were invalid", "no longer signed", "NO_PUBKEY",
	"BADSIG", "EXPKEYSIG", "REVKEYSIG", "Clearsigned file isn't valid", "doesn't support", "does not have a Release file",
	"OpenPGP signature verification failed",
}

// archiveIn finds the id of the local archive that a line of apt names.
func archiveIn(line string) string {
	_, rest, ok := strings.Cut(line, "/archives/")
	if !ok || len(rest) < 16 {
		return ""
	}
	id := rest[:16]
	if strings.Trim(id, "0123456789abcdef") != "" {
		return ""
	}
	return id
}

// tidy takes the work folder out of what people read.
func tidy(reason, id string) string {
	words := strings.Fields(strings.ReplaceAll(reason, "InRelease' ", "InRelease "))
	for i, word := range words {
		if _, rest, ok := strings.Cut(word, "/archives/"+id); ok {
			words[i] = strings.Trim(strings.TrimPrefix(rest, "/"), "'")
		}
	}
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " ")
}

// unproven asks apt which indexes it has and trusts. An archive without any
// was left out silently.
func (w *workspace) unproven(ctx context.Context, archives []catalog.Archive) (map[string]string, error) {
	res, err := w.aptGet(ctx, simulateTimeout, nil, "indextargets", "--format", "$(TRUSTED) $(FILENAME)", "Created-By: Packages")
	if err != nil {
		return nil, err
	}
	good, out := map[string]bool{}, map[string]string{}
	for line := range strings.Lines(string(res.Stdout)) {
		trusted, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, a := range archives {
			if strings.Contains(file, "_archives_"+a.ID+"_") {
				good[a.ID] = good[a.ID] || trusted == "yes"
				if trusted != "yes" {
					out[a.ID] = "apt does not trust it"
				}
			}
		}
	}
	for _, a := range archives {
		if !good[a.ID] && w.refused[a.ID] == "" && len(a.Indexes) > 0 {
			out[a.ID] = "apt took none of its package indexes"
		}
	}
	return out, nil
}

// anyLeft fails when every patch of the job is held by refused archives alone.
func (w *workspace) anyLeft() error {
	for _, p := range w.job.Patches {
		if w.untrusted(p) == "" {
			return nil
		}
	}
	if len(w.job.Patches) == 0 || len(w.refused) == 0 {
		return nil
	}
	return fault.New(fault.Untrusted, "apt of this machine refused the archive snapshot of %s", w.untrusted(w.job.Patches[0])).
		WithHint("nothing was changed; the machine's keyring must trust the archive's key, and the catalog must pin what the vendor signed")
}

// untrusted returns why the archives that hold the patch were refused, or ""
// when one of them was not.
func (w *workspace) untrusted(p patch.Patch) string {
	reason := ""
	for _, a := range w.job.Archives {
		if !holds(p, a.ID) {
			continue
		}
		if w.refused[a.ID] == "" {
			return ""
		}
		reason = w.refused[a.ID]
	}
	return reason
}

// lastError returns apt's own sentences for what went wrong.
func lastError(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "E: "); ok && !slices.Contains(all, rest) {
			all = append(all, rest)
		}
	}
	if len(all) == 0 {
		return "apt gave no reason"
	}
	return strings.Join(all, "; ")
}
