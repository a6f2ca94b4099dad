// @vitest-environment jsdom
import "../testing";
import { MantineProvider } from "@mantine/core";
import { render, screen } from "@testing-library/react";
import { expect, it } from "vitest";
import type { Finding } from "./missing";
import { Evidence, Risk, recordOf, wanted } from "./Proof";

it("writes operators as people do", () => {
  expect(wanted("lt 3.0.17-1~deb12u3")).toBe("< 3.0.17-1~deb12u3");
  expect(wanted("present")).toBe("present");
});

it("knows where updates of Microsoft are described", () => {
  expect(recordOf("KB5036892")).toBe("https://support.microsoft.com/help/5036892");
  expect(recordOf("KB12&x=evil")).toBeUndefined();
});

it("links CVEs and nothing else", () => {
  render(
    <MantineProvider>
      <Risk advisories={["DSA-1-1"]} cves={["CVE-2024-2", "CVE-2025-1", "CVE-x&id=evil"]} />
    </MantineProvider>,
  );
  const links = screen.getAllByRole("link").map((a) => a.textContent);
  expect(links).toEqual(["CVE-2025-1", "CVE-2024-2"]);
  expect(screen.getByText("DSA-1-1")).toBeTruthy();
});

it("shows each test with what was wanted and found", () => {
  const f = {
    evidence: [
      { test: "package dpkg openssl", want: "lt 2", found: "1", value: "true" },
      {
        test: "file /opt/app",
        want: "present",
        found: "absent",
        value: "false",
        by: "machine",
        at: "2026-11-22T05:04:00Z",
      },
    ],
  } as unknown as Finding;
  render(
    <MantineProvider>
      <Evidence of={f} />
    </MantineProvider>,
  );
  for (const text of ["package dpkg openssl", "< 2", "1", "holds"]) expect(screen.getByText(text)).toBeTruthy();
  // What the machine itself answered is told apart from what its inventory says.
  const own = screen.getAllByText(/own look/);
  expect(own).toHaveLength(1);
  expect(own[0]?.textContent).toContain("2026");
});
