// One browser for all tests: Debian's Chromium, a fresh profile, and a page
// that fails the test when the console logs an error or the policy is broken.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const program = process.env.FETTLE_CHROMIUM ?? "/usr/bin/chromium";

/** Where screenshots go; FETTLE_SHOTS names another folder. */
export const shots = process.env.FETTLE_SHOTS ?? join(tmpdir(), "fettle-console");

/** Starts Chromium; the returned function ends it and removes its profile. */
export async function browse(baseURL) {
  mkdirSync(shots, { recursive: true });
  const profile = mkdtempSync(join(tmpdir(), "fettle-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: program,
    headless: true,
    chromiumSandbox: false, // the tests run as root in containers
    args: [
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // Nothing but the server under test may be reached.
      "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    ],
    baseURL,
    ignoreHTTPSErrors: true, // a server with its own device CA
    viewport: { width: 1280, height: 800 },
    colorScheme: "light",
    locale: "en-GB",
    timezoneId: "UTC",
    reducedMotion: "reduce",
  });
  context.setDefaultTimeout(Number(process.env.FETTLE_PATIENCE ?? 120_000));
  return { context, close: () => context.close().finally(() => rmSync(profile, { recursive: true, force: true })) };
}

/**
 * Opens a page and collects what a person would not see: console errors,
 * uncaught exceptions and requests to anywhere else.
 */
export async function open(context, baseURL) {
  const page = context.pages()[0] ?? (await context.newPage());
  const faults = [];
  page.on("pageerror", (error) => faults.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    // Chromium logs every answer of 400 and above; those that a test wants are looked at there.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource"))
      faults.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.origin !== new URL(baseURL).origin) faults.push(`request to ${url.origin}`);
  });
  return { page, faults };
}

/** Saves what the page looks like, the first two screens of it. */
export async function shoot(page, name) {
  const { width, height } = page.viewportSize();
  const whole = await page.evaluate(() => document.documentElement.scrollHeight);
  const clip = { x: 0, y: 0, width, height: Math.min(whole, 2 * height) };
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true, clip });
}

const axe = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

/**
 * Asks axe, of long tables about the first rows; returns one line for each
 * violation of WCAG 2.2 A and AA. It runs in the page itself: the console has
 * no frames, and axe's own driver takes another page for each question.
 */
export async function audit(page) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const answer = await window.axe.run(
      { exclude: ["main tbody tr:nth-of-type(n + 8)"] },
      {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
        resultTypes: ["violations"],
      },
    );
    return answer.violations;
  });
  return violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(" ")}: ${n.failureSummary}`));
}
