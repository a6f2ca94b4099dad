import { expect, it } from "vitest";
import { labels } from "./Sheet";

it("names the cells of a card by their columns; boxes and unseen columns have no name", () => {
  const head = [{ box: "a box" }, "Machine", { name: 'The "worst"', numeric: true }, { name: "Action", unseen: true }];
  expect(labels(head)).toEqual({
    "--column-1": '""',
    "--column-2": '"Machine"',
    "--column-3": '"The \\"worst\\""',
    "--column-4": '""',
  });
});
