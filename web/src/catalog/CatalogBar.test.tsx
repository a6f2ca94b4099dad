// @vitest-environment jsdom
import "../testing";
import { MantineProvider } from "@mantine/core";
import { render, screen } from "@testing-library/react";
import { expect, it } from "vitest";
import { Outdated } from "./CatalogBar";
import type { Catalog } from "./catalog";

const catalog: Catalog = {
  version: 12,
  created: "2026-11-22T12:00:00Z",
  expires: "2026-11-29T12:00:00Z",
  age_seconds: 60,
  source: "/srv/repository",
  signers: ["d95fac2fdcb7347b"],
  platforms: [],
};
const show = (more: Partial<Catalog>) =>
  render(
    <MantineProvider>
      <Outdated catalog={{ ...catalog, ...more }} />
    </MantineProvider>,
  );

it("says nothing while all is well", () => {
  show({});
  expect(screen.queryByRole("alert")).toBeNull();
});

it("says what is the matter, what to do and what stays in use", () => {
  show({ error: "the repository's folder /srv/repository does not exist", hint: "check that it is mounted" });
  const notice = screen.getByRole("alert").textContent;
  expect(notice).toContain("The repository's folder /srv/repository does not exist.");
  expect(notice).toContain("Check that it is mounted.");
  expect(notice).toContain("Catalog 12 stays in use.");
});

it("does not name a catalog that is not there", () => {
  show({ version: 0, error: "no route" });
  expect(screen.getByRole("alert").textContent).not.toContain("stays in use");
});
