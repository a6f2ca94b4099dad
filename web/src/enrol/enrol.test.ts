import { describe, expect, it } from "vitest";
import { stateOf, usesFrom } from "./enrol";

const now = new Date("2026-11-22T12:00:00Z");
const token = { expires: "2026-11-23T12:00:00Z", used: 1, uses: 5 };

describe("a token", () => {
  it.each([
    ["open", token],
    ["used up", { ...token, used: 5 }],
    ["expired", { ...token, expires: "2026-11-22T12:00:00Z" }],
    ["ended", { ...token, revoked: "2026-11-22T11:00:00Z", used: 5 }],
    ["open", { ...token, revoked: "0001-01-01T00:00:00Z" }], // Go's zero time: never
  ])("is %s", (state, of) => expect(stateOf(of, now)).toBe(state));
});

it.each([
  ["1", 1],
  [" 50 ", 50],
  ["100000", 100_000],
  ["100001", undefined],
  ["0", undefined],
  ["-3", undefined],
  ["1.5", undefined],
  ["many", undefined],
  ["", undefined],
])("takes %o uses for %s", (text, n) => expect(usesFrom(text)).toBe(n));
