// A person's first quarter of an hour with the console: make the first
// administrator, sign in, look at machines and at what they lack and why,
// approve, decline, sign out. The steps build on each other.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { audit, browse, open, shoot } from "./browser.mjs";

const base = process.env.FETTLE_URL;
const token = process.env.FETTLE_SETUP_TOKEN;
if (!base || !token) throw new Error("FETTLE_URL and FETTLE_SETUP_TOKEN are not set: start this with run.mjs");

const name = "ada";
const password = "correct horse battery";

describe("the console", () => {
  let context;
  let close;
  let page;
  let faults;
  let stuck = false; // a step builds on those before it

  before(async () => {
    ({ context, close } = await browse(base));
    ({ page, faults } = await open(context, base));
  });
  after(() => close?.());

  /** A step: its faults and accessibility count, and it leaves a picture. */
  function step(title, picture, body) {
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
  }

  const heading = (text) => page.getByRole("heading", { level: 1, name: text });
  const rows = () => page.getByRole("main").locator("tbody tr.row");

  test("is served with a policy that allows nothing from elsewhere", async () => {
    const answer = await fetch(base);
    const policy = answer.headers.get("content-security-policy");
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
  });

  step("asks a stranger to sign in, at any address", "sign-in", async () => {
    await page.goto("/missing");
    await heading("Sign in").waitFor();
  });

  step("refuses a wrong password in words", "sign-in-refused", async () => {
    await page.getByLabel(/^Name/).fill("mallory");
    await page.getByLabel(/^Password/).fill("not the password");
    await page.getByRole("button", { name: "Sign in" }).click();
    const alert = page.getByRole("alert");
    await alert.waitFor();
    assert.match(await alert.textContent(), /\w+ \w+/);
  });

  step("wants the whole link", "setup-no-token", async () => {
    await page.goto("/setup");
    await heading("This link is not whole").waitFor();
  });

  step("makes the first administrator with the one-time link", "setup", async () => {
    await page.goto("about:blank"); // a change behind # alone loads nothing
    await page.goto(`/setup#token=${token}`);
    await heading("Make the first administrator").waitFor();
    assert.equal(await page.evaluate(() => window.location.hash), "", "the token stays in the address bar");
    await page.getByLabel(/^Name/).fill(name);
    await page.getByLabel(/^Password/).fill("short");
    await page.getByLabel("The same password again").fill("other");
    await page.getByRole("button", { name: "Create the account" }).click();
    await page.getByText("The two passwords differ").waitFor();
    await page.getByText("Use at least 12 characters").waitFor();
  });

  step("shows the machines", "machines", async () => {
    await page.getByLabel(/^Password/).fill(password);
    await page.getByLabel("The same password again").fill(password);
    await page.getByRole("button", { name: "Create the account" }).click();
    await heading("Machines").waitFor();
    await rows().first().waitFor();
    await page.getByRole("button", { name: /^Catalog / }).waitFor();
  });

  step("says which catalog answers and who signed it", "catalog", async () => {
    await page.getByRole("button", { name: /^Catalog / }).click();
    await page.getByText("Signed by", { exact: true }).waitFor();
    await page.getByText("Valid until").waitFor();
  });

  step("finds a machine by its name and says when there is none", "machines-none", async () => {
    await page.keyboard.press("Escape");
    const box = page.getByLabel("Search machines by the beginning of their name");
    await box.fill("no-such-machine");
    await page.getByText("No machine's name begins with").waitFor();
    await page.getByRole("button", { name: "Show all machines" }).click();
    await rows().first().waitFor();
  });

  step("says of one machine what it lacks and why", "machine", async () => {
    await rows().first().getByRole("link").click();
    await page.getByRole("heading", { name: "Missing patches" }).waitFor();
    await rows().first().waitFor();
    for (const reason of await rows().locator(".reason").allTextContents())
      assert.match(reason, /is installed; .+ is in /, "a finding without a reason");
  });

  step("shows the evidence on demand, by keyboard", "machine-evidence", async () => {
    const toggle = rows().first().getByRole("button");
    await toggle.focus();
    await page.keyboard.press("Enter");
    assert.equal(await toggle.getAttribute("aria-expanded"), "true");
    await page.getByRole("columnheader", { name: "Found on the machine" }).waitFor();
    await page.getByText("Advisories", { exact: true }).waitFor();
  });

  step("lists what the fleet lacks", "missing", async () => {
    await page.getByRole("link", { name: "Missing patches" }).click();
    await heading("Missing patches").waitFor();
    await rows().first().waitFor();
  });

  step("opens a patch to the machines that lack it", "missing-open", async () => {
    await rows().first().getByRole("button").click();
    await page.getByRole("columnheader", { name: "Why it counts as missing" }).waitFor();
  });

  step("narrows the list, and the address remembers it", "missing-filtered", async () => {
    await page.getByLabel("Security only").check();
    await page.waitForURL(/security=true/);
    await page.waitForFunction(() => {
      const list = [...document.querySelectorAll("main tbody tr.row")];
      return list.every((row) => !row.textContent.includes("Not security"));
    });
    await page.reload();
    await heading("Missing patches").waitFor();
    assert.equal(await page.getByLabel("Security only").isChecked(), true);
  });

  step("says so when nothing fits the filters", "missing-none", async () => {
    await page.getByLabel("Search by package, CVE or advisory").fill("no-such-package");
    await page.getByText("No missing patch fits these filters").waitFor();
    await page.getByRole("button", { name: "Show everything that is missing" }).click();
    await rows().first().waitFor();
    assert.doesNotMatch(page.url(), /security/);
    assert.equal(await page.getByLabel("Search by package, CVE or advisory").inputValue(), "");
  });

  step("asks before it approves", "approve", async () => {
    await rows().first().getByRole("checkbox").check();
    await page.getByText("1 patch selected").waitFor();
    await page.getByRole("button", { name: "Approve…" }).click();
    await page.getByRole("dialog").getByLabel("Reason").fill("tested on the canaries");
  });

  step("approves", "approved", async () => {
    await page.getByRole("dialog").getByRole("button", { name: "Approve 1 patch" }).click();
    await page.getByText("Approved 1 patch for every machine.").waitFor();
    await rows().first().getByText("Approved").waitFor();
  });

  step("does not decline without a reason", "decline", async () => {
    await rows().last().getByRole("checkbox").check();
    await page.getByRole("button", { name: "Decline…" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Decline 1 patch" }).click();
    await dialog.waitFor(); // the browser asks for the reason
    assert.equal(await dialog.getByLabel("Reason").evaluate((box) => box.validity.valueMissing), true);
  });

  step("declines", "declined", async () => {
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Reason").fill("breaks the label printer");
    await dialog.getByRole("button", { name: "Decline 1 patch" }).click();
    await page.getByText("Declined 1 patch for every machine.").waitFor();
    await rows().last().getByText("Declined").waitFor();
  });

  step("lists deployments, or says how to begin one", "deployments", async () => {
    await page.getByRole("link", { name: "Deployments" }).click();
    await heading("Deployments").waitFor();
    await rows().first().or(page.getByText("Nothing has been deployed yet")).waitFor();
  });

  step("says what it has no page for", "nowhere", async () => {
    await page.goto("/no/such/page");
    await page.getByText("There is no such page").waitFor();
  });

  step("says so of a machine that does not exist", "machine-unknown", async () => {
    await page.goto("/machines/no-such-machine");
    const alert = page.getByRole("alert");
    await alert.waitFor();
    assert.match(await alert.textContent(), /\w+ \w+/);
  });

  step("is as legible in the dark", "dark-machines", async () => {
    await page.goto("/machines");
    await rows().first().waitFor();
    await page.getByRole("button", { name: "Use dark colours" }).click();
    await page.getByRole("button", { name: "Use light colours" }).waitFor();
  });

  step("is as legible in the dark on a list of patches", "dark-missing", async () => {
    await page.getByRole("link", { name: "Missing patches" }).click();
    await rows().first().getByRole("button").click();
    await page.getByRole("columnheader", { name: "Why it counts as missing" }).waitFor();
  });

  step("fits a telephone", "phone", async () => {
    await page.setViewportSize({ width: 390, height: 780 });
    await page.getByRole("button", { name: "Show the menu" }).click();
    await page.getByRole("link", { name: "Machines" }).click();
    await heading("Machines").waitFor();
    await rows().first().waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(wide <= 0, `the page is ${wide} px wider than the screen`);
  });

  step("signs out, and shows nothing more", "signed-out", async () => {
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.getByRole("button", { name, exact: true }).click();
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    await heading("Sign in").waitFor();
    await page.goto("/machines");
    await heading("Sign in").waitFor();
  });

  step("signs in again, to the page that was asked for", "signed-in", async () => {
    await page.goto("/missing");
    await page.getByLabel(/^Name/).fill(name);
    await page.getByLabel(/^Password/).fill(password);
    await page.keyboard.press("Enter");
    await heading("Missing patches").waitFor();
    await rows().first().getByText("Approved").waitFor();
  });

  step("does not take the one-time link twice", "setup-again", async () => {
    await page.goto("about:blank");
    await page.goto(`/setup#token=${token}`);
    await page.getByLabel(/^Name/).fill("eve");
    await page.getByLabel(/^Password/).fill(password);
    await page.getByLabel("The same password again").fill(password);
    await page.getByRole("button", { name: "Create the account" }).click();
    await page.getByRole("alert").waitFor();
  });
});
