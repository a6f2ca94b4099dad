// Takes addresses out of the lock files: who funds a package is of no use to
// `npm ci`, and a lock file without addresses installs from any registry.
import { readFileSync, writeFileSync } from "node:fs";

for (const file of process.argv.slice(2)) {
  const lock = JSON.parse(readFileSync(file, "utf8"));
  for (const entry of Object.values(lock.packages)) {
    delete entry.funding;
    delete entry.resolved;
    // npm writes here that a pre-release moved; it is a text with an address.
    if (entry.deprecated) entry.deprecated = "yes";
  }
  const text = `${JSON.stringify(lock, null, 2)}\n`;
  if (/https?:/.test(text)) throw new Error(`${file} still names an address`);
  writeFileSync(file, text);
}
