// An audit log of a tenant and that of the server, made up: what was done,
// what failed and what was refused; more than one page of it.
import { ago, list } from "./made.mjs";

const php = "debian-12:amd64:php8.2:8.2.29-1~deb12u1";
const sevenZip = "winget:7zip.7zip:24.08:amd64:exe";

// The newest first: minutes ago, kind, actor, action, object, detail.
const happened = [
  [3, "user", "ada", "deployments.create", "d-9", "2 patches on 2 machines: november"],
  [
    9,
    "user",
    "ada",
    "approvals.create",
    "approve",
    `2 patches (tested on pc7 and web1 for three days; the archive job and the label printer ran as ever) ${php} ${sevenZip}`,
  ],
  [20, "key", "reporting", "hosts.scan.denied", "/api/v1/tenants/main/hosts/pc7/scan", "needs manage_hosts"],
  [31, "user", "grace", "deployments.create.failed", "", "conflict: pc8 has a deployment that is not finished"],
  [60, "system", "agent:pc7", "endpoint.enrol", "pc7", "host pc7 from 10.0.3.7:50122"],
  [61, "user", "ada", "tokens.create", "tk-1", "for site berlin rack 4"],
  ...Array.from({ length: 120 }, (_, i) => [100 + i, "user", "grace", "hosts.scan", `pc${i}`, ""]),
];

const entries = happened.map(([minutes, kind, actor, action, object, detail], i) => ({
  seq: happened.length - i,
  tenant: "main",
  at: ago(minutes),
  kind,
  actor,
  action,
  object,
  detail,
  prev: i + 1 < happened.length ? "ab".repeat(32) : "",
  hash: "cd".repeat(32),
}));

const own = [
  {
    seq: 2,
    at: ago(500),
    kind: "stranger",
    actor: "somebody",
    action: "session.create.failed",
    object: "ada",
    detail: "7 wrong guesses from 2 addresses, the first 2026-11-21T09:00:00Z from 10.0.3.9",
    prev: "01".repeat(32),
    hash: "02".repeat(32),
  },
];

export const whole = { ok: true, entries: entries.length + own.length, head: "9c".repeat(32) };
export const changed = {
  ...whole,
  ok: false,
  problem: "entry 4 of tenant main was changed: its hash does not fit its text",
};

/** A page of a log, narrowed as the server does it. */
export function log(of, query) {
  const from = of === "own" ? own : entries;
  const fits = (e) =>
    (!query.actor || e.actor === query.actor) &&
    (!query.action || e.action.startsWith(query.action)) &&
    (!query.q || `${e.object}\n${e.detail}`.toLowerCase().includes(query.q.toLowerCase())) &&
    (!query.from || e.at >= query.from) &&
    (!query.to || e.at < query.to) &&
    (!query.after || e.seq < Number(query.after));
  const found = from.filter(fits);
  const page = found.slice(0, Number(query.limit));
  return { ...list(page), next: found.length > page.length ? String(page.at(-1).seq) : "" };
}
