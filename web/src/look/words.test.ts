import { describe, expect, it } from "vitest";
import { ago, bytes, count, percent, plain, sentence, span } from "./words";

const now = new Date("2026-03-01T12:00:00Z");

describe("words", () => {
  it("counts", () => {
    expect(count(1, "machine")).toBe("1 machine");
    expect(count(0, "machine")).toBe("0 machines");
    expect(count(2, "patch", "patches")).toBe("2 patches");
  });
  it.each([
    [0, "less than a minute"],
    [59, "less than a minute"],
    [60, "1 minute"],
    [7_199, "1 hour"],
    [172_800, "2 days"],
  ])("spans %d seconds", (seconds, text) => expect(span(seconds)).toBe(text));
  it.each([
    [undefined, "never"],
    ["0001-01-01T00:00:00Z", "never"],
    ["not a time", "never"],
    ["2026-03-01T11:59:30Z", "just now"],
    ["2026-03-01T12:00:30Z", "just now"], // the server's clock is ahead
    ["2026-03-01T09:00:00Z", "3 hours ago"],
  ])("says how long ago %s was", (at, text) => expect(ago(at, now)).toBe(text));
  it("makes words of words", () => {
    expect(plain("waiting_for_window")).toBe("waiting for window");
    expect(sentence("highly_vulnerable")).toBe("Highly vulnerable");
    expect(percent(0.934)).toBe("93%");
    expect(percent(0.00042)).toBe("0.042%");
  });
});

it.each([
  [400, "0.4 kB"],
  [1_589_510, "1.6 MB"],
  [14_700_000, "14.7 MB"],
  [2_500_000_000, "2.5 GB"],
])("writes %d bytes as %s", (n, text) => expect(bytes(n)).toBe(text));
