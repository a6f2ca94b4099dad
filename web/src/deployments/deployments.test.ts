import { describe, expect, it } from "vitest";
import { type Deployment, leftOut, live, staying, type Task, takeable, tally } from "./deployments";
import { reached } from "./Progress";

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

it("names what stays when the rest is taken back, of what the machine has", () => {
  const one_way = ["c", "x", "left"].map((patch) => ({ patch, reason: `${patch} can't be rolled back` }));
  const refused = [{ patch: "left", reason: "held" }];
  const task = {
    state: "verified",
    patches: [{ id: "a" }, { id: "c" }, { id: "left" }],
    plan: { changes: [], payloads: [], download_bytes: 0, refused },
  } as unknown as Task;
  expect(staying({ reversible: ["a"], one_way } as Deployment, task)).toEqual([
    { patch: "c", reason: "c can't be rolled back" },
  ]);
  expect(staying({ reversible: ["a"] } as Deployment, task)).toEqual([]);
});

it("names what a machine left out once, whether its plan or its result says so", () => {
  const refused = [{ patch: "a", reason: "held" }];
  expect(leftOut({})).toEqual([]);
  expect(leftOut({ plan: { changes: [], payloads: [], download_bytes: 0, refused } })).toEqual(refused);
  const result = { attempt: 1, started: "", exit_code: 0, refused: [...refused, { patch: "b", reason: "pinned" }] };
  expect(
    leftOut({ plan: { changes: [], payloads: [], download_bytes: 0, refused }, result }).map((r) => r.patch),
  ).toEqual(["a", "b"]);
});

it("counts as done only what a scan has proven, or what a dry run planned", () => {
  const counts = { verified: 3, failed: 1, expired: 1, installing: 2, no_longer_applicable: 1 };
  expect(reached(counts)).toEqual({ done: 3, bad: 2, open: 2, all: 8 });
  expect(reached({ planned: 2 }, true)).toEqual({ done: 2, bad: 0, open: 0, all: 2 });
  expect(reached(undefined).all).toBe(0);
});
