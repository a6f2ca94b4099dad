import { expect, it } from "vitest";
import { auditFilterFrom, between, deedOf, type Entry, patchesOf, placeOf } from "./audit";

it("reads a filter out of an address, and no nonsense", () => {
  expect(auditFilterFrom({ q: 7, server: true, from: "2026-11-22", to: "yesterday", more: 1 })).toEqual({
    q: "7",
    server: true,
    actor: "",
    action: "",
    from: "2026-11-22",
    to: "",
  });
});

it("takes days as the reader's own, the last one included", () => {
  const { from, to } = between({ from: "2026-11-22", to: "2026-11-22" });
  expect(from).toBe(new Date(2026, 10, 22).toISOString());
  expect(to).toBe(new Date(2026, 10, 23).toISOString());
  expect(between({})).toEqual({});
});

it("says in words what was done, what failed and what was refused", () => {
  expect(deedOf("deployments.create")).toEqual({ text: "Begin a deployment", outcome: "done" });
  expect(deedOf("hosts.scan.denied")).toEqual({ text: "Ask a machine for a scan", outcome: "denied" });
  expect(deedOf("approvals.create.failed", "decline")).toEqual({ text: "Decline patches", outcome: "failed" });
  expect(deedOf("keys.create.failed").outcome).toBe("failed");
  expect(deedOf("relays.new_kind")).toEqual({ text: "Relays.new kind", outcome: "done" });
});

it("finds the patches that a detail names", () => {
  const id = "debian-12:amd64:php8.2:8.2.29-1~deb12u1";
  expect(patchesOf(`2 patches (see ticket:1 http://x/y) ${id} winget:7zip.7zip:24.08:amd64:exe ...`)).toEqual([
    id,
    "winget:7zip.7zip:24.08:amd64:exe",
  ]);
  expect(patchesOf(undefined)).toEqual([]);
});

it("leads to what an entry is about, not to paths of refused requests", () => {
  const entry = (action: string, object: string) => ({ action, object }) as Entry;
  expect(placeOf(entry("deployments.halt", "d-1"))).toEqual({ to: "/deployments/$id", id: "d-1" });
  expect(placeOf(entry("endpoint.enrol", "m1"))).toEqual({ to: "/machines/$id", id: "m1" });
  expect(placeOf(entry("hosts.scan.denied", "/api/v1/tenants/main/hosts/m1/scan"))).toBeUndefined();
  expect(placeOf(entry("approvals.create", "approve"))).toBeUndefined();
});
