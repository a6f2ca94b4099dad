import { describe, expect, it } from "vitest";
import { byPatch, type Finding, nameOf, newestFirst, whole } from "./missing";

const finding = (more: Partial<Finding>): Finding => ({
  endpoint: "e1",
  hostname: "web1",
  patch: "p",
  product: "openssl",
  kind: "dpkg",
  package: "openssl",
  installed: "1",
  available: "2",
  security: true,
  severity: "moderate",
  advisories: [],
  cves: [],
  state: "missing",
  standing: "installable",
  reason: "",
  approval: "awaiting_approval",
  ...more,
});

it("names products of Windows as people know them, packages as they are called", () => {
  expect(nameOf(finding({ kind: "arp", package: "{23170F69}", product: "7-Zip" }))).toBe("7-Zip");
  expect(nameOf(finding({ kind: "dpkg", package: "libssl3", product: "openssl" }))).toBe("libssl3");
});

describe("byPatch", () => {
  it("counts machines, not packages", () => {
    const [p] = byPatch([
      finding({ package: "openssl" }),
      finding({ package: "libssl3" }),
      finding({ endpoint: "e2", package: "openssl" }),
    ]);
    expect([p?.machines, p?.findings.length]).toEqual([2, 3]);
  });
  it("takes the worst severity and all CVEs once", () => {
    const [p] = byPatch([
      finding({ severity: "low", cves: ["CVE-2", "CVE-1"] }),
      finding({ severity: "critical", cves: ["CVE-2"], exploited: true }),
    ]);
    expect([p?.severity, p?.cves, p?.exploited]).toEqual(["critical", ["CVE-1", "CVE-2"], true]);
  });
  it("never ranks unknown below low", () => {
    const list = byPatch([finding({ patch: "a", severity: "low" }), finding({ patch: "b", severity: "unknown" })]);
    expect(list.map((p) => p.patch)).toEqual(["b", "a"]);
  });
  it("puts exploited before severe, and security before the rest", () => {
    const list = byPatch([
      finding({ patch: "plain", security: false, severity: "critical" }),
      finding({ patch: "severe", severity: "critical" }),
      finding({ patch: "exploited", severity: "low", exploited: true }),
    ]);
    expect(list.map((p) => p.patch)).toEqual(["exploited", "severe", "plain"]);
  });
  it("says so when machines differ in the decision", () => {
    const [p] = byPatch([finding({ approval: "approved" }), finding({ approval: "declined" })]);
    expect(p?.approval).toBe("differs");
  });
});

describe("what there is to decide", () => {
  const bulletin = finding({ standing: "bulletin", bulletin: true });
  it("is nothing of a bulletin", () => {
    expect(byPatch([bulletin])[0]).toMatchObject({ decidable: false, standings: ["bulletin"] });
  });
  it("is the decision for those machines where it can be installed", () => {
    const [p] = byPatch([
      finding({ standing: "user_only", approval: "awaiting_approval" }),
      finding({ endpoint: "e2", approval: "approved" }),
    ]);
    expect(p).toMatchObject({ decidable: true, approval: "approved", standings: ["user_only", "installable"] });
  });
});

it("sorts CVEs by number", () => {
  expect(newestFirst(["CVE-2024-1", "CVE-2025-9", "CVE-2025-10"])).toEqual(["CVE-2025-10", "CVE-2025-9", "CVE-2024-1"]);
});

it("takes an empty list that Go wrote as null for what it is", () => {
  const f = { ...finding({}), cves: null, advisories: null };
  expect(byPatch([whole(f)])[0]?.cves).toEqual([]);
});
