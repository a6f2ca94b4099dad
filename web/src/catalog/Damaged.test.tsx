// @vitest-environment jsdom
import "../testing";
import { MantineProvider } from "@mantine/core";
import { render, screen, within } from "@testing-library/react";
import { expect, it } from "vitest";
import type { Damaged } from "./catalog";
import { DamagedNotice } from "./Damaged";

const now = new Date("2026-11-22T12:00:00Z");
const file = (letter: string, hour: string, mended: boolean): Damaged => ({
  sha256: letter.repeat(64),
  at: `2026-11-22T${hour}:00:00Z`,
  mended,
});
const show = (files: Damaged[]) =>
  render(
    <MantineProvider>
      <DamagedNotice files={files} now={now} />
    </MantineProvider>,
  );

it("says nothing when no file is damaged", () => {
  show([]);
  expect(screen.queryByRole("status")).toBeNull();
  expect(screen.queryByRole("alert")).toBeNull();
});

it("says of mended files that they are, and still what to look at", () => {
  show([file("a", "09", true)]);
  const notice = screen.getByRole("status");
  expect(notice.textContent).toContain("damaged 1 file within");
  expect(notice.textContent).toContain("Mended: good copies are here again");
  expect(notice.textContent).toContain("Look at the disk and the memory");
  expect(notice.textContent).not.toContain("No good copy");
});

it("alarms about those without a good copy, and names all, the latest first", () => {
  show([file("a", "09", true), file("b", "11", false)]);
  const notice = screen.getByRole("alert");
  expect(notice.textContent).toContain("damaged 2 files within");
  expect(notice.textContent).toContain("1 file without a good copy");
  const lines = within(notice)
    .getAllByRole("listitem", { hidden: true })
    .map((li) => li.textContent);
  expect(lines).toEqual([
    `${"b".repeat(64)}, found 1 hour ago No good copy`,
    `${"a".repeat(64)}, found 3 hours ago Fetched anew`,
  ]);
});
