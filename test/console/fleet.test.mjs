// What no deployment puts right by itself, and the way back from a patch's
// page, over made-up answers of the API: the server under test has neither.
// Pages come from the real server, with its policy.
import assert from "node:assert/strict";
import { describe } from "node:test";
import { shoot } from "./browser.mjs";
import { answers, me } from "./fleet.mjs";
import { changed } from "./log.mjs";
import { standIn, steps } from "./steps.mjs";

const firmware = "HP EliteBook 840 G8 System BIOS";
const sevenZip = "winget:7zip.7zip:24.08:amd64:exe";

describe("the console of a fleet with all that needs people", () => {
  let page;
  let sent;
  let permissions = me.permissions;
  let verdict;
  let refused = false;
  const step = steps(async (opened, context) => {
    page = opened;
    sent = await standIn(context, (url, method, body) => {
      if (url.pathname.endsWith("/me")) return { ...me, permissions };
      if (url.pathname.endsWith("/audit/verify") && verdict) return verdict;
      if (url.pathname.endsWith("/audit") && refused) return undefined;
      return answers(url, method, body);
    });
  });

  const main = () => page.getByRole("main");
  const row = (name) => main().getByRole("row", { name });
  const rows = () => main().locator("tbody tr.row");
  /** Chooses one of a list by keyboard, as Mantine's lists are used. */
  const choose = async (list, option) => {
    await main().getByRole("combobox", { name: list, exact: true }).focus();
    await page.keyboard.press("ArrowDown");
    await page.getByRole("option", { name: option, exact: true }).click();
  };

  step("counts in the list of machines what their people have to see to", "fleet-machines", async () => {
    await page.goto("/machines");
    await row(/^pc7 /).getByText("1 bulletin").waitFor();
    await row(/^pc7 /).getByText("1 product of single users").waitFor();
    await row(/^web1 /)
      .getByText("1 package half installed")
      .waitFor();
    assert.equal(await main().getByText("belong to single users").count(), 0, "told twice");
  });

  step("alarms about a full disk and a damaged file without a good copy", "fleet-damaged", async () => {
    const disk = page.getByRole("alert").filter({ hasText: "no room for more files" });
    await disk.getByText("800 MB are free on the disk of /var/lib/fettle").waitFor();
    await disk.getByText("3 files (400 MB) that nobody needs now").waitFor();
    const notice = page.getByRole("alert").filter({ hasText: "disk damaged 2 files" });
    await notice.getByText("1 file without a good copy.").waitFor();
    await notice.getByText("Which files").click();
    assert.deepEqual(
      await notice.getByRole("listitem").locator(".tag").allTextContents(),
      ["No good copy", "Fetched anew"],
      "the latest first",
    );
  });

  step("finds the machines with half-installed packages, and the address remembers it", "fleet-broken", async () => {
    await choose("Which machines", "With half-installed packages");
    await page.waitForURL(/with=broken/);
    await row(/^pc7 /).waitFor({ state: "detached" });
    assert.equal(await rows().count(), 1);
    await page.reload();
    await row(/^web1 /).waitFor();
    assert.equal(await rows().count(), 1);
  });

  step("says when no machine fits, and the way back to all", "fleet-none", async () => {
    await choose("Which machines", "With a reboot due");
    await page.getByText("No machine fits these filters").waitFor();
    await page.getByRole("button", { name: "Show all machines" }).click();
    await row(/^pc8 /).waitFor();
  });

  step("says of a half-installed package what to do", "fleet-half-installed", async () => {
    await main().getByRole("link", { name: "web1" }).click();
    await page.getByText("1 package installed only half").waitFor();
    await main()
      .getByRole("button", { name: /^php8\.2-fpm/ })
      .click();
    await main()
      .getByText(/^fettle deploy debian-12:amd64:php8\.2:\S+ --host web1$/)
      .waitFor();
  });

  step("says of a bulletin why nothing can be installed and what to do instead", "fleet-bulletin", async () => {
    await page.goto("/machines/pc7");
    await main().getByText("1 of them is a bulletin, which nothing can be installed from").waitFor();
    await main().getByRole("button", { name: firmware }).click();
    await main().getByText("What to do instead").waitFor();
    await main()
      .getByText("The vendor names SHA1 alone, and the payload was not fetched; name it in 'prove'", { exact: true })
      .waitFor();
    const link = main().getByRole("link", { name: "HPSBHF04043" });
    assert.equal(await link.getAttribute("href"), "https://support.example.org/bios/sp151234");
    assert.equal(await main().locator("a[href^=javascript]").count(), 0, "a link that runs code");
  });

  step("has nobody decide about bulletins and users' own products", "fleet-undecided", async () => {
    const boxes = await main().getByRole("checkbox").all();
    const names = await Promise.all(boxes.map((b) => b.getAttribute("aria-label")));
    assert.deepEqual(names, ["Select all patches that are shown", "Select VLC media player 3.0.21"]);
    await row(new RegExp(firmware)).getByText("Nothing to install").waitFor();
    await row(/^Notes/)
      .getByText("Up to the user")
      .waitFor();
    await main().getByRole("button", { name: "Notes" }).click();
    await main().getByText("It is the users' to update").waitFor();
  });

  step("narrows what a machine lacks to the products of its users", "fleet-user-only", async () => {
    await choose("What can be done", "Products of single users");
    await row(new RegExp(firmware)).waitFor({ state: "detached" });
    assert.deepEqual(await rows().locator("button").allTextContents(), ["Notes"]);
    await choose("What can be done", "Held");
    await page.getByText("Nothing fits this filter").waitFor();
    await page.getByRole("button", { name: "Show everything that it lacks" }).click();
    await row(new RegExp(firmware)).waitFor();
  });

  step("narrows what the fleet lacks to bulletins", "fleet-bulletins", async () => {
    await page.goto("/missing");
    await choose("What can be done", "Bulletins: nothing to install");
    await page.waitForURL(/standing=bulletin/);
    await row(/^VLC/).waitFor({ state: "detached" });
    await row(new RegExp(firmware)).getByText("2 machines").waitFor();
    assert.equal(await page.getByRole("checkbox", { name: new RegExp(firmware) }).count(), 0);
  });

  step("opens a bulletin's own page, and again after a reload", "fleet-bulletin-page", async () => {
    await main().getByRole("button", { name: firmware }).click();
    await main()
      .getByRole("link", { name: /^hp:windows/ })
      .click();
    await page.getByRole("heading", { level: 1, name: `${firmware} 1.18.0` }).waitFor();
    await page.reload(); // its address has dots, and is no file's
    await page.getByRole("heading", { level: 1, name: `${firmware} 1.18.0` }).waitFor();
    await main().getByText("What to do instead").waitFor();
    await row(/^pc8 /).waitFor();
    assert.equal(await page.getByRole("button", { name: "Approve…" }).count(), 0, "a bulletin to approve");
    assert.equal(await page.getByRole("heading", { name: "Take it back" }).count(), 0, "a bulletin to take back");
  });

  step("lists the catalog, and the bulletins in it", "fleet-patches", async () => {
    await page.getByRole("link", { name: "All patches" }).click();
    await row(/^php8\.2/).waitFor();
    await page.getByLabel("Bulletins only").check();
    await row(/^php8\.2/).waitFor({ state: "detached" });
    await row(new RegExp(firmware)).getByText("Nothing to install").waitFor();
    await page.getByLabel("Bulletins only").uncheck();
  });

  step("says why there is no way back", "fleet-no-way-back", async () => {
    await row(/^php8\.2/)
      .getByRole("link")
      .click();
    await page.getByText("There is no way back from this patch").waitFor();
    await page.getByText(/signed manifest says no way to uninstall it/).waitFor();
    assert.equal(await page.getByRole("button", { name: "Roll back…" }).count(), 0);
  });

  step("shows who can take a patch back, and to which version", "fleet-holders", async () => {
    await page.goto(`/patches/${encodeURIComponent(sevenZip)}`);
    await main().getByText("7-Zip 24.08 is uninstalled and 7-Zip 23.01 installed again").waitFor();
    await row(/pc9/).getByText("stays as it is: required by").waitFor();
    await row(/pc10/).getByText("the inventory does not tell").waitFor();
    assert.equal(await page.getByLabel("Select pc9").isDisabled(), true);
    assert.equal(await page.getByLabel("Select pc10").isDisabled(), true);
    assert.equal(await page.getByRole("button", { name: "Roll back…" }).isDisabled(), true);
  });

  step("shows where the keyboard is, wherever it goes", "fleet-keyboard", async () => {
    for (const path of [
      "/machines",
      "/missing",
      "/add-machines",
      "/audit?actor=ada",
      `/patches/${encodeURIComponent(sevenZip)}`,
    ]) {
      await page.goto(path);
      await rows().first().waitFor();
      const seen = [];
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press("Tab");
        const stop = await page.evaluate(() => {
          const at = document.activeElement;
          if (!at || at === document.body) return undefined; // the end of the page
          at.dataset.stop ??= String(Math.random());
          const { outlineStyle, outlineWidth } = getComputedStyle(at);
          return {
            id: at.dataset.stop,
            name: at.getAttribute("aria-label") || at.textContent.trim() || at.tagName,
            shown: outlineStyle !== "none" && outlineWidth !== "0px",
          };
        });
        if (!stop || seen.some((s) => s.id === stop.id)) break;
        seen.push(stop);
      }
      assert.ok(seen.length > 10, `${path}: only ${seen.length} stops`);
      assert.deepEqual(
        seen.filter((s) => !s.shown).map((s) => s.name),
        [],
        `${path}: stops that can't be seen`,
      );
    }
  });

  step("asks before it rolls back, with the consequences", "fleet-rollback-asks", async () => {
    await page.getByLabel("Select all machines that can take it back").check();
    await page.getByText("2 machines selected").waitFor();
    await page.getByRole("button", { name: "Roll back…" }).click();
    const dialog = page.getByRole("dialog", { name: "Roll back 1 patch on 2 machines" });
    await dialog.getByText("7-Zip 24.08 is uninstalled and 7-Zip 23.01 installed again.").waitFor();
    await dialog.getByText("The machines may have to restart: that is left to you.").waitFor();
    await dialog.getByText("It begins at once; 1 machine is offline and follows when back.").waitFor();
    assert.equal(await dialog.getByLabel("Reason").evaluate((box) => box === document.activeElement), true);
  });

  step("keeps the keyboard within the dialog, and gives it back", "fleet-rollback-keyboard", async () => {
    const inside = () => page.evaluate(() => Boolean(document.activeElement?.closest("[role=dialog]")));
    for (let i = 0; i < 12; i++) {
      await page.keyboard.press(i % 4 === 3 ? "Shift+Tab" : "Tab");
      assert.equal(await inside(), true, `the focus left the dialog after ${i + 1} steps`);
    }
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    const back = page.getByRole("button", { name: "Roll back…" });
    await page.waitForFunction(() => document.activeElement?.textContent === "Roll back…");
    assert.equal(sent.length, 0, "sent without a word");
    const outline = await back.evaluate((b) => getComputedStyle(b).outlineStyle);
    assert.notEqual(outline, "none", "the focus can't be seen");
  });

  step(
    "rolls back from the patch's page, and shows how it goes until it is verified",
    "fleet-rolled-back",
    async () => {
      await page.getByLabel("Select pc8").uncheck();
      await page.getByRole("button", { name: "Roll back…" }).click();
      const dialog = page.getByRole("dialog", { name: "Roll back 1 patch on pc7" });
      await dialog.getByLabel("Reason").fill("breaks the archive job");
      await dialog.getByRole("button", { name: "Roll back 1 patch" }).click();
      await page.waitForURL(/deployments\/d-10/);
      assert.deepEqual(sent, [
        {
          path: "/api/v1/tenants/main/deployments",
          body: {
            operation: "rollback",
            patches: [sevenZip],
            endpoints: ["pc7"],
            reason: "breaks the archive job",
            keep_approval: false,
          },
        },
      ]);
      await page.getByText(`1 finding of ${sevenZip}, not there in this version`).waitFor();
      await main().getByText("1 of 1 machine verified").waitFor();
      const bar = page.getByRole("progressbar", { name: "Machines verified" });
      assert.equal(await bar.getAttribute("aria-valuenow"), "1");
      await row(/^pc7 /).getByText("Verified", { exact: true }).waitFor();
    },
  );

  step("names the patches that a machine left out, and why", "fleet-left-out", async () => {
    await page.goto("/deployments/d-9");
    await row(/^web1 /)
      .getByText("1 left out")
      .waitFor();
    await choose("Which tasks to list", "With patches left out");
    await row(/^pc7 /).waitFor({ state: "detached" });
    await main().getByRole("button", { name: "web1" }).click();
    await main().getByText("php8.2-fpm is held by the machine's administrator").waitFor();
    await main().getByText("Nothing was changed.").waitFor();
  });

  step("says so on the machine's page, and finds it there", "fleet-left-out-machine", async () => {
    await main().getByRole("link", { name: "Open the machine" }).click();
    const deployments = page.getByRole("region", { name: "Deployments of this machine" });
    await deployments.getByText("php8.2-fpm is held by the machine's administrator").waitFor();
    await page.goto("/machines/pc7");
    await deployments.getByRole("link", { name: "d-9" }).waitFor();
    await choose("Which deployments to list", "With patches left out");
    await page.getByText("It left nothing out").waitFor();
    await page.getByRole("button", { name: "Show all deployments" }).click();
    await deployments.getByRole("link", { name: "d-9" }).waitFor();
  });

  step("says so on the patch's page", "fleet-left-out-patch", async () => {
    await page.goto(`/patches/${encodeURIComponent("debian-12:amd64:php8.2:8.2.29-1~deb12u1")}`);
    const deployments = page.getByRole("region", { name: "Deployments of this patch" });
    await deployments.getByText("php8.2-fpm is held by the machine's administrator").waitFor();
    await deployments.getByRole("link", { name: "november" }).waitFor();
  });

  step("leads from a deployment to what the audit log has of it", "fleet-audit-deployment", async () => {
    await page.goto("/deployments/d-9");
    await main().getByRole("link", { name: "In the audit log" }).click();
    await page.waitForURL(/audit\?q=d-9/);
    await row(/^Begin a deployment ada/).waitFor();
    assert.equal(await rows().count(), 1);
    await page.getByText("All 127 entries of all logs checked").click();
    await page.getByText("9c".repeat(32)).waitFor();
  });

  step("opens an entry to all that it says, by keyboard, and leads to its patches", "fleet-audit-entry", async () => {
    await page.goto("/audit?action=approvals");
    await rows().first().getByRole("button").focus();
    await page.keyboard.press("Enter");
    await main().getByText("cd".repeat(32)).waitFor();
    await main().getByText("(a person)").waitFor();
    assert.equal(
      await main().getByRole("link", { name: sevenZip }).getAttribute("href"),
      `/patches/${encodeURIComponent(sevenZip)}`,
    );
  });

  step("lists the audit log page after page, what failed and what was refused too", "fleet-audit", async () => {
    await page.getByRole("navigation").getByRole("link", { name: "Audit log" }).click();
    await row(/^Ask a machine for a scan Refused reporting/).waitFor();
    await row(/^Begin a deployment Failed grace/).waitFor();
    assert.equal(await rows().count(), 100);
    await page.getByRole("button", { name: "Show older ones" }).click();
    await page.getByText("126 entries", { exact: true }).waitFor();
  });

  step("narrows the audit log, and the address remembers it", "fleet-audit-narrowed", async () => {
    await page.getByLabel("Done by: the whole name").fill("ada");
    await page.waitForURL(/actor=ada/);
    await choose("What was done", "Enrolment tokens");
    await page.waitForURL(/action=tokens/);
    const today = new Date().toISOString().slice(0, 10); // the browser's zone is UTC
    await page.getByLabel("Last day").fill(today);
    await page.waitForURL(/to=/);
    await page.reload();
    await row(/^Make an enrolment token ada tk-1/).waitFor();
    assert.equal(await rows().count(), 1);
    assert.equal(await page.getByLabel("Last day").inputValue(), today);
    await page.getByLabel("Search by target or detail").fill("nothing like it");
    await page.getByText("No entry fits these filters").waitFor();
    await page.getByRole("button", { name: "Show the whole log" }).click();
    await row(/^Begin a deployment ada/).waitFor();
    assert.doesNotMatch(page.url(), /actor|action|to=/);
  });

  step("alarms about a log that was changed, and shows the server's own", "fleet-audit-changed", async () => {
    verdict = changed;
    await page.goto("/audit?server=true");
    const alert = page.getByRole("alert").filter({ hasText: "changed behind the server's back" });
    await alert.getByText("entry 4 of tenant main was changed").waitFor();
    await row(/^Sign in Failed somebody ada/).waitFor();
    assert.equal(await page.getByText("entries of all logs checked").count(), 0);
    verdict = undefined;
  });

  step("says why the audit log can't be had, and asks again", "fleet-audit-error", async () => {
    refused = true;
    await page.goto("/audit");
    const alert = page.getByRole("alert").filter({ hasText: "Not Found" });
    await alert.waitFor();
    refused = false;
    await alert.getByRole("button", { name: "Try again" }).click();
    await row(/^Begin a deployment ada/).waitFor();
  });

  step("lets nobody decide, roll back or add machines who may only read", "fleet-reader", async () => {
    permissions = { "*": ["read"] };
    await page.goto(`/patches/${encodeURIComponent(sevenZip)}`);
    await page.getByText("Your role may read but not roll back").waitFor();
    assert.equal(await page.getByRole("button", { name: /Approve…|Decline…|Roll back…/ }).count(), 0);
    await page.goto("/machines");
    await row(/^pc7 /).waitFor();
    assert.equal(await page.getByRole("link", { name: "Add machines" }).count(), 0);
    await page.goto("/audit");
    await page.getByText("Your role may not read the audit log").waitFor();
    assert.equal(await page.getByRole("link", { name: "Audit log" }).count(), 0);
    await page.goto("/add-machines");
    await page.getByText("Your role may not add machines").waitFor();
    assert.equal(await page.getByRole("button", { name: "Make the line" }).count(), 0);
  });

  // A page is opened once for all sizes. The picture and the question of
  // accessibility are the last one's: a telephone in the dark.
  const sizes = [
    [1440, "light"],
    [1024, "dark"],
    [800, "light"],
    [390, "light"],
    [390, "dark"],
  ];
  const places = {
    machines: "/machines",
    missing: "/missing",
    patches: "/patches",
    patch: `/patches/${encodeURIComponent(sevenZip)}`,
    deployments: "/deployments",
    deployment: "/deployments/d-9",
    "add-machines": "/add-machines",
    audit: "/audit?actor=ada",
    machine: "/machines/pc7",
  };
  for (const [name, path] of Object.entries(places)) {
    step(`fits every screen without scrolling sideways: ${path}`, `fleet-fits-${name}`, async () => {
      permissions = me.permissions;
      await page.goto(path);
      await rows().first().waitFor();
      const toggle = rows().first().locator("button[aria-expanded]");
      if ((await toggle.count()) > 0) await toggle.click();
      for (const [width, colorScheme] of sizes) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme });
        const { over, labels } = await page.evaluate(measure);
        assert.deepEqual(over, [], `wider than ${width} px`);
        assert.deepEqual(
          labels.filter((l) => l.shown !== l.column),
          [],
          "a cell that is called other than its column",
        );
        if (width === 390) assert.ok(labels.length > 0, "no cell says what it is");
        if (colorScheme === "light" && width !== 800) await shoot(page, `fleet-fits-${name}-${width}`);
      }
    });
  }
});

/**
 * Runs in the page: what is wider than its place, and how the cells of cards
 * are called beside the names of their columns.
 */
function measure() {
  const over = [document.documentElement, ...document.querySelectorAll(".scroll")]
    .filter((e) => e.scrollWidth > e.clientWidth)
    .map((e) => e.getAttribute("aria-label") ?? "the page");
  const labels = [...document.querySelectorAll("main table")].flatMap((table) =>
    [...table.tBodies[0].rows].flatMap((row) =>
      [...row.cells].flatMap((cell, i) => {
        const { content } = getComputedStyle(cell, "::before");
        const shown = /^"(.*?)"/.exec(content)?.[1];
        return shown ? [{ shown, column: table.tHead.rows[0].cells[i].textContent }] : [];
      }),
    ),
  );
  return { over, labels };
}
