import { describe, expect, it } from "vitest";
import { type Catalog, expired, shortKey } from "./catalog";

const now = new Date("2026-03-01T12:00:00Z");
const catalog = (expires: string) => ({ expires }) as Catalog;

describe("expired", () => {
  it.each([
    ["2026-03-01T12:00:00Z", true],
    ["2026-02-01T00:00:00Z", true],
    ["2026-03-01T12:00:01Z", false],
    ["0001-01-01T00:00:00Z", false], // none was given
  ])("%s: %s", (at, is) => expect(expired(catalog(at), now)).toBe(is));
});

describe("shortKey", () => {
  it("leaves short names and cuts fingerprints", () => {
    expect(shortKey("release")).toBe("release");
    expect(shortKey("0123456789abcdef0123456789abcdef")).toBe("01234567…");
  });
});
