// A person's first quarter of an hour with the console: make the first
// administrator, sign in, look at machines and at what they lack and why,
// approve, decline, sign out. The steps build on each other.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { audit } from "./browser.mjs";
import { damage } from "./damage.mjs";
import { base, steps } from "./steps.mjs";

const token = process.env.FETTLE_SETUP_TOKEN;
if (!token) throw new Error("FETTLE_SETUP_TOKEN is not set: start this with run.mjs");

const name = "ada";
const password = "correct horse battery";

describe("the console", () => {
  let page;
  const step = steps((opened) => {
    page = opened;
  });

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

  test("is looked at by something that finds what is wrong", async () => {
    await page.evaluate(() => {
      const wrong = document.createElement("p");
      wrong.style.color = "#ccc";
      wrong.append(new Image(), "hard to read");
      document.querySelector("h1").after(wrong);
    });
    const found = (await audit(page)).map((line) => line.split(":")[0]).sort();
    await page.reload();
    assert.deepEqual(found, ["color-contrast", "image-alt"]);
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

  step("has it all in the audit log, which is whole", "audit", async () => {
    await page.getByRole("link", { name: "Audit log" }).click();
    await heading("Audit log").waitFor();
    await page.getByText(/^All \d+ entries of all logs checked/).waitFor();
    await rows()
      .filter({ hasText: /Decline patches.+breaks the label printer/ })
      .waitFor();
    await page.getByText("The server itself", { exact: true }).click();
    await rows().filter({ hasText: "Make the first administrator" }).waitFor();
  });

  step("lists deployments, or says how to begin one", "deployments", async () => {
    await page.getByRole("link", { name: "Deployments" }).click();
    await heading("Deployments").waitFor();
    await rows().first().or(page.getByText("Nothing has been deployed yet")).waitFor();
  });

  step("adds machines: asks for how many, and for how long", "add-machines", async () => {
    await page.getByRole("link", { name: "Machines" }).click();
    await page.getByRole("link", { name: "Add machines" }).click();
    await heading("Add machines").waitFor();
    const uses = page.getByLabel("How many machines");
    await uses.fill("0");
    await page.getByText("A whole number in this range").waitFor();
    assert.equal(await page.getByRole("button", { name: "Make the line" }).isDisabled(), true);
    await uses.fill("5");
    await page.getByLabel("Note").fill("rack 4");
  });

  let line;
  step("prints the lines of fettle enroll-token, and copies them", "add-machines-line", async () => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Make the line" }).click();
    await page.getByText("The token is shown this once").waitFor();
    await page.getByText(/^Run this on up to 5 machines, until /).waitFor();
    const texts = await page.locator("pre.line").allTextContents();
    const [linux, windows] = texts;
    const parts = /^fettle-agent enroll (https:\/\/\S+) --token (fe1-\S+) --ca (sha256:\S+) --root (sha256:\S+)$/.exec(
      linux,
    );
    assert.ok(parts, linux);
    const [, server, secret, ca, root] = parts;
    assert.equal(windows, `msiexec /i fettle-agent.msi /qn SERVER=${server} TOKEN=${secret} CA=${ca} ROOT=${root}`);
    for (const pinned of [server, ca, root]) await page.locator("dd", { hasText: pinned }).waitFor();
    for (const [system, text] of [
      ["Linux", linux],
      ["Windows", windows],
    ]) {
      await page.getByRole("button", { name: new RegExp(`^Copy: ${system}`) }).click();
      await page.getByText("Copied.").first().waitFor();
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), text);
    }
    await page.getByText("No machine has come in yet").waitFor();
    line = linux;
  });

  step("shows a token this once", "add-machines-hidden", async () => {
    const secret = line.split(" ")[4];
    assert.match(secret, /^fe1-/);
    await page.getByRole("button", { name: "Done: hide the token" }).click();
    await page.getByRole("button", { name: "Make the line" }).waitFor();
    await page.reload();
    await rows().filter({ hasText: "rack 4" }).getByText("0 of 5").waitFor();
    assert.equal((await page.content()).includes(secret), false, "the secret is still there");
  });

  step("ends a token", "add-machines-ended", async () => {
    await page.getByRole("button", { name: "End the token rack 4" }).click();
    const dialog = page.getByRole("dialog", { name: "End this token" });
    await dialog.getByText("Machines that used it stay enrolled").waitFor();
    await dialog.getByRole("button", { name: "End the token" }).click();
    await rows().filter({ hasText: "rack 4" }).getByText("Ended").waitFor();
  });

  step("opens a patch to all that is known of it", "patch", async () => {
    await page.getByRole("link", { name: "Patches", exact: true }).click();
    await heading("Patches").waitFor();
    await page.getByLabel("Missing somewhere").check();
    await page.waitForURL(/needed=true/);
    await rows().first().getByRole("link").click();
    await page.getByRole("heading", { name: "Machines that lack it" }).waitFor();
    await page.getByText("There is no way back from this patch").waitFor(); // apt has none
    await page.getByText("Signed record").waitFor();
    await page.getByRole("region", { name: "Machines that lack it" }).getByRole("link").first().waitFor();
  });

  step("keeps people from a patch that does not exist", "patch-unknown", async () => {
    await page.goto("/patches/no-such:patch:1.0");
    const alert = page.getByRole("alert");
    await alert.waitFor();
    assert.match(await alert.textContent(), /no patch of the catalog/i);
  });

  step("says what it has no page for", "nowhere", async () => {
    await page.goto("/no/such/page");
    await page.getByText("There is no such page").waitFor();
  });

  step("says so of a machine that does not exist", "machine-unknown", async () => {
    await page.goto("/machines/no-such-machine");
    const alert = page.getByRole("alert");
    await alert.waitFor();
    await heading("Machine").waitFor();
    assert.equal(await page.title(), "Machine · Fettle");
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

  step("says nothing of damaged files while there are none", "undamaged", async () => {
    await page.goto("/machines");
    await rows().first().waitFor();
    assert.equal(await page.getByText("disk damaged").count(), 0);
  });

  // Only a server that run.mjs has started lets its files be damaged.
  if (process.env.FETTLE_DATA) {
    step("tells of a file that the server's disk damaged, and of its mending", "damaged", async () => {
      const meets = damage(process.env.FETTLE_DATA);
      try {
        const late = Date.now() + 5 * 60_000;
        for (let files = []; files.length === 0 || files.some((f) => !f.mended); ) {
          assert.ok(Date.now() < late, "nothing tells of the damage, or it is not mended");
          await page.waitForTimeout(500);
          const status = await page.request.get("/api/v1/status");
          files = (await status.json()).payloads.damaged ?? [];
        }
        await page.reload(); // by itself the page asks twice a minute
        const notice = page.getByRole("status").filter({ hasText: /disk damaged \d files? within the last week/ });
        await notice.getByText("Mended: good copies are here again.").waitFor();
        await notice.getByText("Look at the disk and the memory").waitFor();
        await notice.getByText(/^Which files?$/).click();
        const lines = await notice.getByRole("listitem").allTextContents();
        assert.ok(lines.length > 0, "no file is named");
        for (const line of lines) assert.match(line, /^[0-9a-f]{64}, found .+ Fetched anew$/);
      } finally {
        meets.kill();
      }
    });
  }

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
