import { describe, expect, it } from "vitest";
import { type Host, notes, withFrom } from "./hosts";

const host = (more: Partial<Host>) => ({ state: "active", broken: 0, bulletins: 0, user_only: 0, ...more }) as Host;
const said = (more: Partial<Host>) => notes(host(more)).map((n) => n.text);

describe("notes", () => {
  it("says nothing of a machine that is well", () => {
    expect(said({ reboot_due: false, restarts_due: [] })).toEqual([]);
  });
  it("names the one service and counts several", () => {
    expect(said({ restarts_due: ["ssh.service"] })).toEqual(["ssh.service needs a restart"]);
    expect(said({ restarts_due: ["a", "b"] })).toEqual(["2 services need a restart"]);
  });
  it("puts what is worse first", () => {
    expect(said({ state: "revoked", problem: "dpkg was interrupted", reboot_due: true, bulletins: 1 })).toEqual([
      "Shut out",
      "dpkg was interrupted",
      "1 bulletin",
      "Reboot due",
    ]);
  });
  it("tells counts once, not again as the machine's problem", () => {
    const problem =
      "installed only half: php; 2 of 5 missing can't be installed by Fettle (bulletins); 1 out of date belong to single users";
    expect(said({ problem, broken: 1, bulletins: 2, user_only: 1 })).toEqual([
      "1 package half installed",
      "2 bulletins",
      "1 product of single users",
    ]);
  });
});

it("takes only words that it knows from an address", () => {
  expect(withFrom("broken")).toBe("broken");
  expect(withFrom("nonsense")).toBeUndefined();
});
