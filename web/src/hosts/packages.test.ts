import { expect, test } from "vitest";
import { ownerOf, titleOf, windows } from "./packages";

test("a product is known by its title, else by its name", () => {
  expect(titleOf({ k: "arp", n: "{23170F69-40C1-2702-2408-000001000000}", v: "24.08", t: "7-Zip 24.08" })).toBe(
    "7-Zip 24.08",
  );
  expect(titleOf({ k: "dpkg", n: "openssl", v: "3" })).toBe("openssl");
});

test("only a product of a single user names its owner", () => {
  expect(ownerOf({ k: "arp", n: "Notes", v: "2", sc: "user:PC7\\ada" })).toBe("PC7\\ada");
  expect(ownerOf({ k: "arp", n: "Notes", v: "2" })).toBe("");
});

test("Windows is told by edition, version and build, as far as they are known", () => {
  const os = {
    family: "windows",
    id: "windows-10",
    version: "22h2",
    name: "Windows 10",
    hostname: "pc7",
    arch: "amd64",
  };
  expect(windows({ ...os, edition: "Enterprise", codename: "22H2", build: "10.0.19045.4291" })).toBe(
    "Enterprise, version 22H2, build 10.0.19045.4291",
  );
  expect(windows({ ...os, arch: "386", build: "10.0.18362" })).toBe("build 10.0.18362, 32-bit");
  expect(windows(os)).toBe("nothing reported");
});
