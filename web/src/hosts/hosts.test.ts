import { describe, expect, it } from "vitest";
import { type Host, notes } from "./hosts";

const host = (more: Partial<Host>) => ({ state: "active", ...more }) as Host;

describe("notes", () => {
  it("says nothing of a machine that is well", () => {
    expect(notes(host({ reboot_due: false, restarts_due: [] }))).toEqual([]);
  });
  it("names the one service and counts several", () => {
    expect(notes(host({ restarts_due: ["ssh.service"] }))).toEqual(["ssh.service needs a restart"]);
    expect(notes(host({ restarts_due: ["a", "b"] }))).toEqual(["2 services need a restart"]);
  });
  it("puts what is worse first", () => {
    expect(notes(host({ state: "revoked", problem: "dpkg was interrupted", reboot_due: true }))).toEqual([
      "Shut out",
      "dpkg was interrupted",
      "Reboot due",
    ]);
  });
});
