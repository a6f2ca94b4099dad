import { Text } from "@mantine/core";
import { count } from "../look/words";
import { type Deployment, live } from "./deployments";

/** How far a deployment has come, as a bar and in words: only what a fresh
 * scan has proven counts as done. */
export function Advance({ of: d }: { of: Deployment }) {
  const { done, bad, open, all } = reached(d.counts, d.dry_run);
  if (all === 0) return null;
  const part = (n: number) => `${(n * 100) / all}%`;
  const words = [
    `${done.toLocaleString()} of ${count(all, "machine")} ${d.dry_run ? "planned" : "verified"}`,
    bad > 0 ? `${bad.toLocaleString()} failed` : "",
    open > 0 ? `${open.toLocaleString()} under way` : "",
  ];
  return (
    <div>
      <div
        className="advance"
        role="progressbar"
        aria-label={d.dry_run ? "Machines planned" : "Machines verified"}
        aria-valuemin={0}
        aria-valuemax={all}
        aria-valuenow={done}
      >
        <span data-tone="good" style={{ width: part(done) }} />
        <span data-tone="bad" style={{ width: part(bad) }} />
      </div>
      <Text size="sm" role="status">
        {words.filter(Boolean).join(", ")}
      </Text>
    </div>
  );
}

/** Tasks that reached the end, that did not and that are under way; what no
 * longer applies or was cancelled counts as neither. */
export function reached(counts: Record<string, number> | undefined, dry?: boolean) {
  const sum = (fits: (state: string) => boolean) =>
    Object.entries(counts ?? {}).reduce((n, [state, more]) => (fits(state) ? n + more : n), 0);
  return {
    done: sum((s) => s === (dry ? "planned" : "verified")),
    bad: sum((s) => s === "failed" || s === "expired"),
    open: sum(live),
    all: sum(() => true),
  };
}
