import { expect, it } from "vitest";
import { decidable, standingFrom } from "./standing";

it("has people decide about what can be installed, and about nothing else", () => {
  expect((["installable", "held", "broken", "unknown"] as const).map(decidable)).toEqual([true, true, true, true]);
  expect((["bulletin", "user_only", "pinned"] as const).map(decidable)).toEqual([false, false, false]);
});

it("takes only words that it knows from an address", () => {
  expect(standingFrom("bulletin")).toBe("bulletin");
  expect(standingFrom("toString")).toBeUndefined();
  expect(standingFrom(7)).toBeUndefined();
});
