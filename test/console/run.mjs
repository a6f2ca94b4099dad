// Starts a real Fettle (bin/fettle up, with this machine's own agent, and apt
// led to an archive that has newer packages), takes the console's one-time
// link from what it prints, and drives the console in Chromium. FETTLE_URL and FETTLE_SETUP_TOKEN name a server
// that runs already; FETTLE_SHOTS the folder for screenshots. Words behind
// "npm test --" pick some of the files.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { archive } from "./archive.mjs";
import { shots } from "./browser.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const fettle = process.env.FETTLE_BIN ?? join(here, "../../bin/fettle");
const patience = 2 * 60_000; // ms

/** A loopback address whose port is free now, below those that the system gives to whoever asks for any. */
function address() {
  return new Promise((resolve, reject) => {
    const attempt = (left) => {
      const port = 20_000 + Math.floor(Math.random() * 12_000);
      const s = createServer();
      s.once("error", (err) => (left > 0 ? attempt(left - 1) : reject(err)));
      s.listen(port, "127.0.0.1", () => s.close(() => resolve(`127.0.0.1:${port}`)));
    };
    attempt(20);
  });
}

/** Starts a server of its own; gives its link and how to end it. */
async function start() {
  if (!existsSync(fettle)) throw new Error(`${fettle} is missing: run make build first`);
  const newer = await archive();
  const data = mkdtempSync(join(tmpdir(), "fettle-console-data-"));
  const admin = await address();
  let agents = admin;
  while (agents === admin) agents = await address();
  const args = ["up", "--data", data, "--admin", admin, "--agents", agents];
  const child = spawn(fettle, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...newer.env } });
  let said = "";
  const gone = new Promise((resolve) => child.once("exit", resolve));
  const end = async () => {
    child.kill("SIGTERM");
    const hard = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await gone;
    clearTimeout(hard);
    rmSync(data, { recursive: true, force: true });
    newer.end();
  };
  const link = await new Promise((resolve) => {
    const late = setTimeout(() => resolve(undefined), patience);
    const listen = (chunk) => {
      said += chunk;
      const found = said.match(/https?:\/\/\S+\/setup#token=\S+/);
      if (found) {
        clearTimeout(late);
        resolve(found[0]);
      }
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
    gone.then(() => {
      clearTimeout(late);
      resolve(undefined);
    });
  });
  if (!link) {
    const log = join(data, "fettle.log");
    const tail = existsSync(log) ? readFileSync(log, "utf8").split("\n").slice(-20).join("\n") : "";
    await end();
    throw new Error(`fettle up printed no link for the first administrator. It said:\n${said}\nIts log ends:\n${tail}`);
  }
  return { link, data, end };
}

/** Where the console is and the token that opens it. */
function parts(link) {
  const url = new URL(link);
  return { FETTLE_URL: url.origin, FETTLE_SETUP_TOKEN: new URLSearchParams(url.hash.slice(1)).get("token") };
}

const own = process.env.FETTLE_URL ? undefined : await start();
try {
  const env = { ...process.env, ...(own ? { ...parts(own.link), FETTLE_DATA: own.data, FETTLE_BIN: fettle } : {}) };
  const picked = process.argv.slice(2);
  const tests = ["console", "windows", "fleet"]
    .filter((name) => picked.length === 0 || picked.includes(name))
    .map((name) => join(here, `${name}.test.mjs`));
  const run = spawn(process.execPath, ["--test", "--test-concurrency=2", "--test-reporter=spec", ...tests], {
    env,
    stdio: "inherit",
  });
  process.exitCode = await new Promise((resolve) => run.once("close", (status) => resolve(status ?? 1)));
} finally {
  await own?.end();
  console.log(`console: screenshots are in ${shots}`);
}
