// @vitest-environment jsdom
import "../testing";
import { MantineProvider } from "@mantine/core";
import { render, screen } from "@testing-library/react";
import { expect, it } from "vitest";
import type { Payloads } from "./catalog";
import { DiskNotice } from "./Disk";

const payloads: Payloads = {
  payloads: 41,
  bytes: 9_100_000_000,
  idle: 0,
  idle_bytes: 0,
  keep_idle_seconds: 2_592_000,
  free_bytes: 300_000_000,
  reserve_bytes: 1_073_741_824,
  coming_bytes: 0,
};
const show = (more: Partial<Payloads>) =>
  render(
    <MantineProvider>
      <DiskNotice of={{ ...payloads, ...more }} />
    </MantineProvider>,
  );

it("says nothing while there is room", () => {
  show({});
  expect(screen.queryByRole("alert")).toBeNull();
});

it("says what is the matter, what waits and what to do", () => {
  show({ error: "no room for more payloads: 300 MB are free" });
  const notice = screen.getByRole("alert").textContent;
  expect(notice).toContain("No room for more payloads: 300 MB are free.");
  expect(notice).toContain("such deployments wait");
  expect(notice).toContain("keep_free_mib");
  expect(notice).not.toContain("nobody needs");
});

it("says what leaves by itself, and when", () => {
  show({ error: "full", idle: 12, idle_bytes: 4_000_000_000 });
  expect(screen.getByRole("alert").textContent).toContain(
    "12 files (4 GB) that nobody needs now will be removed after 30 days without use",
  );
});

it("promises nothing where idle files are kept for ever", () => {
  show({ error: "full", idle: 12, idle_bytes: 4_000_000_000, keep_idle_seconds: -1 });
  expect(screen.getByRole("alert").textContent).not.toContain("removed");
});
