// @vitest-environment jsdom
import "../testing";
import { describe, expect, it } from "vitest";
import { reasonOf } from "./Instead";
import { nameOfPatch, type PatchDetail, placesOf } from "./patches";
import { afterwards, free, why } from "./TakeBack";

type Parts = { advisories?: string[]; references?: string[][]; urls?: string[] };

const detail = ({ advisories = [], references = [], urls = [] }: Parts) =>
  ({
    patch: { product: "p", version: "1", advisories, items: urls.map((url) => ({ p: { url } })) },
    advisories: references.map((list, i) => ({ id: `A-${i}`, references: list })),
  }) as unknown as PatchDetail;

describe("placesOf", () => {
  const links = (parts: Parts) => placesOf(detail(parts)).map((p) => `${p.label} ${p.href}`);
  it("knows updates of Microsoft by their number", () =>
    expect(links({ advisories: ["KB5036892"] })).toEqual(["KB5036892 https://support.microsoft.com/help/5036892"]));
  it("calls the first reference by its advisory, the others by where they lead", () =>
    expect(links({ references: [["https://a.example/1", "https://b.example/2"]] })).toEqual([
      "A-0 https://a.example/1",
      "b.example https://b.example/2",
    ]));
  it("takes the file's own address only where nothing else is known", () => {
    expect(links({ urls: ["https://a.example/setup.exe"] })).toEqual(["a.example https://a.example/setup.exe"]);
    expect(links({ urls: ["https://a.example/setup.exe"], references: [["https://b.example/"]] })).toHaveLength(1);
  });
  it("links nothing but the web, each once and not too many", () => {
    expect(
      links({ references: [["javascript:alert(1)", "data:text/html,x", "not an address", "file:///etc/passwd"]] }),
    ).toEqual([]);
    expect(links({ references: [["https://a.example/", "https://a.example/"]] })).toHaveLength(1);
    expect(links({ references: [Array.from({ length: 30 }, (_, i) => `https://a.example/${i}`)] })).toHaveLength(6);
  });
});

it("says the publisher's reason without repeating the heading", () => {
  expect(reasonOf("nothing is installed from it: its payload was not examined")).toBe("Its payload was not examined");
  expect(reasonOf("no payload is named")).toBe("No payload is named");
});

it("names a patch as people do", () => {
  expect(nameOfPatch({ product: "7-Zip", version: "24.08" })).toBe("7-Zip 24.08");
  expect(nameOfPatch({ product: "KB5036892", version: "" })).toBe("KB5036892");
});

it("says what a rollback leaves", () => {
  const of = (restores?: object) =>
    ({
      patch: { product: "7-Zip", version: "24.08" },
      rollback: { possible: true, restores },
    }) as unknown as PatchDetail;
  expect(afterwards(of({ id: "x", product: "7-Zip", version: "23.01" }))).toBe(
    "7-Zip 24.08 is uninstalled and 7-Zip 23.01 installed again",
  );
  expect(afterwards(of())).toBe("7-Zip 24.08 is uninstalled, and nothing is installed in its place");
});

it("takes back only where it is certain and nothing there requires it", () => {
  const holder = { id: "e", hostname: "e", online: true, certain: true };
  expect(free(holder)).toBe(true);
  expect(free({ ...holder, required_by: [] })).toBe(true);
  expect(free({ ...holder, required_by: ["x"] })).toBe(false);
  expect(free({ ...holder, certain: false })).toBe(false);
});

it("says why there is no way back, and leaves ids as they are written", () => {
  expect(why("debian-12:x", "debian-12:x can't be rolled back: apt has no way")).toBe("Apt has no way");
  expect(why("debian-12:x", "debian-12:y is unknown")).toBe("debian-12:y is unknown");
});
