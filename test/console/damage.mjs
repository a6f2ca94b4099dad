// Damage as a disk does it: bytes in the server's own folder that are not what
// they were.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Changes every byte of each payload below a server's data folder and has the
 * server's own machine meet them: it plans what it lacks, and changes nothing.
 * Gives the process that asked it to, to be ended when the damage was found.
 */
export function damage(data) {
  const folder = join(data, "server/blobs/blobs");
  const files = readdirSync(folder, { recursive: true })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
  if (files.length === 0) throw new Error(`${folder} has no payload to damage`);
  for (const path of files)
    writeFileSync(
      path,
      readFileSync(path).map((byte) => byte ^ 0xff),
    );
  const args = ["--data", data, "deploy", "--all-missing", "--all", "--dry-run"];
  return spawn(process.env.FETTLE_BIN, args, { stdio: "inherit" });
}
