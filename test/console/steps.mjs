// What every file of these tests does: one page in one browser, and steps that
// build on each other.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { audit, browse, open, shoot } from "./browser.mjs";

/** The server under test. */
export const base = process.env.FETTLE_URL;
if (!base) throw new Error("FETTLE_URL is not set: start this with run.mjs");

/**
 * Opens a page for the tests of a group and gives it to `prepare`. Returns the
 * way to write a step: it leaves a picture, and what a person would not see
 * counts: errors in the browser, violations of accessibility. After a step
 * that failed the others are passed over.
 */
export function steps(prepare) {
  let close;
  let page;
  let faults;
  let stuck = false;

  before(async () => {
    const browser = await browse(base);
    close = browser.close;
    ({ page, faults } = await open(browser.context, base));
    await prepare(page, browser.context);
  });
  after(() => close?.());

  return function step(title, picture, body) {
    test(title, async (t) => {
      if (stuck) return t.skip("an earlier step failed");
      faults.length = 0;
      try {
        await body();
      } catch (error) {
        stuck = true;
        await shoot(page, `failed-${picture}`);
        throw error;
      }
      await shoot(page, picture);
      assert.deepEqual(await audit(page), [], "accessibility");
      assert.deepEqual(faults, [], "errors in the browser");
    });
  };
}

/** Answers the API's requests with made-up ones; what is changed is noted. */
export async function standIn(context, answers) {
  const sent = [];
  await context.route("**/api/v1/**", async (route) => {
    const request = route.request();
    const url = new URL(request.url());
    const body = request.postDataJSON();
    if (request.method() !== "GET") sent.push({ path: url.pathname, body });
    const answer = answers(url, request.method(), body);
    await route.fulfill(answer ? { json: answer } : { status: 404, json: { title: "Not Found", status: 404 } });
  });
  return sent;
}
