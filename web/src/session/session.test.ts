import { describe, expect, it } from "vitest";
import { tokenOf } from "./Setup";
import { type Me, mayDecide, mayDeploy, mayEnrol, tenantOf } from "./session";

const person = (permissions: Me["permissions"], ...tenants: string[]): Me => ({
  kind: "user",
  id: "u1",
  name: "ada",
  grants: [],
  tenants: tenants.map((id) => ({ id, name: id, created: "2026-01-01T00:00:00Z" })),
  permissions,
});

describe("tenantOf", () => {
  it("is main for nobody", () => expect(tenantOf(null)).toBe("main"));
  it("is the first that the person may enter", () => expect(tenantOf(person({}, "acme", "main"))).toBe("acme"));
});

describe("mayDecide", () => {
  it("on the whole server", () => expect(mayDecide(person({ "*": ["read", "approve_patch"] }, "main"))).toBe(true));
  it("in the tenant", () => expect(mayDecide(person({ acme: ["approve_patch"] }, "acme"))).toBe(true));
  it("not in another tenant", () => expect(mayDecide(person({ other: ["approve_patch"] }, "acme"))).toBe(false));
  it("not with reading alone", () => expect(mayDecide(person({ "*": ["read"] }, "main"))).toBe(false));
  it("not for nobody", () => expect(mayDecide(null)).toBe(false));
});

describe("mayDeploy", () => {
  it("with the right to deploy", () => expect(mayDeploy(person({ acme: ["run_deploy"] }, "acme"))).toBe(true));
  it("not with that to approve", () => expect(mayDeploy(person({ "*": ["approve_patch"] }, "main"))).toBe(false));
});

it("takes the token out of the link", () => {
  expect(tokenOf("#token=abc-123")).toBe("abc-123");
  expect(tokenOf("#")).toBe("");
});

describe("mayEnrol", () => {
  const operator = person({ acme: ["manage_hosts"] }, "main", "acme");
  it("in the tenant that is asked for", () => expect(mayEnrol(operator, "acme")).toBe(true));
  it("not in another", () => expect(mayEnrol(operator, "main")).toBe(false));
  it("not in the one that he works in, unless there too", () => expect(mayEnrol(operator)).toBe(false));
});
