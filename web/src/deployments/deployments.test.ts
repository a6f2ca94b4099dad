import { describe, expect, it } from "vitest";
import { type Deployment, live, type Task, takeable, tally } from "./deployments";

describe("live", () => {
  it.each(["queued", "installing", "waiting_for_reboot", "retry_planned"])("%s can change", (s) =>
    expect(live(s)).toBe(true),
  );
  it.each(["verified", "failed", "planned", "expired", "cancelled", "no_longer_applicable"])("%s can't", (s) =>
    expect(live(s)).toBe(false),
  );
});

it("tallies what ended first and leaves zeros out", () => {
  expect(tally({ waiting_for_window: 2, verified: 3, failed: 1, staging: 0 })).toBe(
    "1 failed, 3 verified, 2 waiting for window",
  );
  expect(tally(undefined)).toBe("");
});

describe("takeable", () => {
  const d = { reversible: ["a", "b"] } as Deployment;
  const task = { state: "verified", patches: [{ id: "a" }, { id: "b" }, { id: "c" }] } as Task;
  it("is what can be taken back of what the machine has proven to have", () =>
    expect(takeable(d, task)).toEqual(["a", "b"]));
  it("leaves out what the plan left out", () =>
    expect(
      takeable(d, {
        ...task,
        plan: { changes: [], payloads: [], download_bytes: 0, refused: [{ patch: "a", reason: "r" }] },
      }),
    ).toEqual(["b"]));
  it.each([
    ["a failed task", d, { ...task, state: "failed" }],
    ["a dry run", { ...d, dry_run: true }, task],
    ["a rollback", { ...d, operation: "rollback" }, task],
    ["patches without a way back", { ...d, reversible: undefined }, task],
  ] as [string, Deployment, Task][])("is nothing of %s", (_, of, t) => expect(takeable(of, t)).toEqual([]));
});
