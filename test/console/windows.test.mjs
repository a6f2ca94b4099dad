// Windows machines and the way back, over made-up answers of the API: the
// server under test has neither. Pages come from the real server, with its
// policy; only the API is stood in for.
import assert from "node:assert/strict";
import { describe } from "node:test";
import { standIn, steps } from "./steps.mjs";
import { answers } from "./windows.mjs";

describe("the console of a Windows machine", () => {
  let page;
  let sent;
  const step = steps(async (opened, context) => {
    page = opened;
    sent = await standIn(context, answers);
  });

  const main = () => page.getByRole("main");

  step("says what the machine is and lacks, by names that people know", "windows-machine", async () => {
    await page.goto("/machines/pc7");
    await page.getByText("Enterprise, version 22H2, build 10.0.19045.4291").waitFor();
    await main().getByRole("button", { name: "7-Zip" }).waitFor();
    assert.doesNotMatch(
      await main().locator("tbody button").allTextContents().then(String),
      /\{/,
      "a number as a name",
    );
  });

  step("links an update of Microsoft to its page", "windows-update", async () => {
    await main().getByRole("button", { name: "Windows 10 22H2" }).click();
    const link = main().getByRole("link", { name: "KB5036892", exact: true });
    assert.equal(await link.getAttribute("href"), "https://support.microsoft.com/help/5036892");
  });

  step("lists programs by title and publisher, and for whom they are", "windows-programs", async () => {
    const row = page.getByRole("region", { name: "Installed software" }).getByRole("row", { name: /Notes/ });
    await row.getByText("Contoso Ltd").waitFor();
    await row.getByText("PC7\\ada alone").waitFor();
    await page.getByText("Updates", { exact: true }).click();
    await main().getByRole("link", { name: "KB5034127" }).waitFor();
  });

  step("offers the way back where there is one, and asks why", "rollback-asks", async () => {
    await page.goto("/deployments/d-1");
    await main().getByRole("button", { name: "pc7" }).click();
    await page.getByRole("button", { name: "Roll back…" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Roll back 1 patch" }).click();
    await dialog.waitFor(); // the browser asks for the reason
    assert.equal(await dialog.getByLabel("Reason").evaluate((box) => box.validity.valueMissing), true);
    assert.equal(sent.length, 0, "sent without a reason");
  });

  step("rolls back, and shows how it goes", "rollback", async () => {
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Reason").fill("breaks the archive job");
    await dialog.getByRole("button", { name: "Roll back 1 patch" }).click();
    await page.waitForURL(/deployments\/d-2/);
    await page.getByText("breaks the archive job").waitFor();
    await main().getByText("Rollback", { exact: true }).waitFor();
    assert.deepEqual(sent, [
      {
        path: "/api/v1/tenants/main/deployments",
        body: {
          operation: "rollback",
          patches: ["winget:7zip.7zip:24.08:amd64:exe"],
          endpoints: ["pc7"],
          reason: "breaks the archive job",
          keep_approval: false,
        },
      },
    ]);
    await main().getByRole("button", { name: "pc7" }).click();
    assert.equal(await page.getByRole("button", { name: "Roll back…" }).count(), 0, "a rollback of a rollback");
  });

  step("tells installations from rollbacks in the list", "rollback-list", async () => {
    await page.getByRole("link", { name: "All deployments" }).click();
    await main().getByText("Rollback", { exact: true }).waitFor();
  });
});
