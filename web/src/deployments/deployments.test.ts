import { describe, expect, it } from "vitest";
import { live, tally } from "./deployments";

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
