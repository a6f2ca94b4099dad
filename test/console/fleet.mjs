// A small fleet that has everything which no deployment puts right by itself:
// bulletins, products of single users, half-installed packages, patches that a
// machine left out; and a patch that can be taken back. Made up.
import { log, whole } from "./log.mjs";
import { admin, ago, list, standing } from "./made.mjs";

const firmware = "hp:windows-apps-amd64:sp151234:1.18.0";
const notes = "winget:Contoso.Notes:2.1:amd64:msi:user";
const php = "debian-12:amd64:php8.2:8.2.29-1~deb12u1";
const sevenZip = "winget:7zip.7zip:24.08:amd64:exe";
const before = "winget:7zip.7zip:23.01:amd64:exe";
const plugin = "winget:Contoso.Archiver:3.1:amd64:msi";

const bulletinReason =
  "nothing is installed from it: the vendor names SHA1 alone, and the payload was not fetched; name it in 'prove'";

export const me = admin(["read", "read_audit", "manage_hosts", "approve_patch", "run_deploy"]);

const damaged = [
  { sha256: "3e".repeat(32), at: ago(50), mended: true },
  { sha256: "9b".repeat(32), at: ago(20), mended: false },
];

const status = {
  ...standing([{ platform: "windows-apps-amd64", patches: 9200, advisories: 120, cves: 800 }], {
    endpoints: 3,
    online: 2,
    missing_security: 2,
    missing: 3,
    patches: 3,
    bulletins: 2,
    user_only: 1,
  }),
  payloads: {
    payloads: 41,
    bytes: 9_100_000_000,
    idle: 3,
    idle_bytes: 400_000_000,
    keep_idle_seconds: 2_592_000,
    free_bytes: 800_000_000,
    reserve_bytes: 1_073_741_824,
    coming_bytes: 0,
    error:
      "no room for more payloads: 800 MB are free on the disk of /var/lib/fettle/server/blobs, 1.1 GB of it stay free for the database",
    damaged,
  },
};

const machine = (id, more) => ({
  id,
  tenant: "main",
  site: "main",
  hostname: id,
  platform: "windows-10-22h2-amd64",
  os: "Windows 10 Enterprise",
  state: "active",
  enrolled: ago(9000),
  last_seen: ago(2),
  agent_version: "0.2.0",
  addresses: ["10.0.3.7"],
  health: "vulnerable",
  missing: 0,
  missing_security: 0,
  bulletins: 0,
  user_only: 0,
  exploited: 0,
  broken: 0,
  online: true,
  ...more,
});

const hosts = [
  machine("pc7", {
    missing: 2,
    missing_security: 1,
    bulletins: 1,
    user_only: 1,
    problem: "1 of 2 missing can't be installed by Fettle (bulletins); 1 out of date belong to single users",
  }),
  machine("pc8", { missing: 1, missing_security: 1, bulletins: 1, online: false, last_seen: ago(3000) }),
  machine("web1", {
    os: "Debian GNU/Linux 12 (bookworm)",
    platform: "debian-12-amd64",
    broken: 1,
    problem: "installed only half: php8.2-fpm",
  }),
];

const inventory = (id) => ({
  scanned: ago(4),
  os:
    id === "web1"
      ? { family: "linux", id: "debian", version: "12", name: "Debian GNU/Linux 12", arch: "amd64", hostname: id }
      : {
          family: "windows",
          id: "windows-10",
          version: "22h2",
          name: "Windows 10",
          edition: "Enterprise",
          codename: "22H2",
          build: "10.0.19045.4355",
          arch: "amd64",
          hostname: id,
        },
  state: { running_kernel: id === "web1" ? "6.1.0-37-amd64" : "" },
  hardware: { vendor: "HP", model: "EliteBook 840 G8", cores: 8, memory_mib: 16104 },
  network: {},
  policy: {},
  packages: 2,
});

const finding = (endpoint, more) => ({
  endpoint,
  hostname: endpoint,
  kind: "arp",
  security: true,
  severity: "important",
  advisories: [],
  cves: [],
  state: "missing",
  standing: "installable",
  approval: "awaiting_approval",
  evidence: [],
  ...more,
});

const driver = (endpoint) =>
  finding(endpoint, {
    patch: firmware,
    product: "HP EliteBook 840 G8 System BIOS",
    package: "HP EliteBook 840 G8 System BIOS",
    installed: "1.16.0",
    available: "1.18.0",
    advisories: ["HPSBHF04043"],
    cves: ["CVE-2026-10234"],
    bulletin: true,
    standing: "bulletin",
    reason: `HP EliteBook 840 G8 System BIOS 1.18.0 applies and is not installed: firmware 1.16.0; ${bulletinReason}`,
    evidence: [{ test: "WMI Win32_BIOS", want: "ge 1.18.0", found: "1.16.0", value: "false" }],
  });

const missing = [
  driver("pc7"),
  finding("pc7", {
    patch: "winget:VideoLAN.VLC:3.0.21:amd64:exe",
    product: "VLC media player",
    package: "VLC media player",
    installed: "3.0.18",
    available: "3.0.21",
    security: false,
    severity: "unknown",
    reason: "VLC media player 3.0.18 is installed; 3.0.21 is in the catalog",
  }),
  finding("pc7", {
    patch: notes,
    product: "Notes",
    package: "Notes",
    installed: "2.0",
    available: "2.1",
    security: false,
    severity: "unknown",
    state: "user_only",
    standing: "user_only",
    reason:
      "only user ada has Notes 2.0; 2.1 is in the catalog. It is the user's to update: Fettle installs for the whole machine",
  }),
  driver("pc8"),
  finding("web1", {
    patch: php,
    product: "php8.2",
    kind: "dpkg",
    package: "php8.2-fpm",
    arch: "amd64",
    installed: "8.2.29-1~deb12u1",
    available: "8.2.29-1~deb12u1",
    state: "broken",
    standing: "broken",
    reason: "php8.2-fpm 8.2.29-1~deb12u1 is half-configured: its installation was begun and did not end well",
  }),
];

const patch = (id, product, version, more) => ({
  patch: {
    id,
    vendor: "7zip",
    platform: "windows-apps-amd64",
    product,
    version,
    class: "application",
    severity: "important",
    released: ago(90_000),
    install: { kind: "exe", reboot: "maybe" },
    evidence: { verdict: "proven", checks: ["Authenticode signed by Igor Pavlov, digest by the manifest"] },
    ...more,
  },
  digest: "5f".repeat(32),
  vulnerabilities: [],
  advisories: [],
  needed_by: [],
  approval: "awaiting_approval",
  approvals: [],
  rollback: { possible: false, reason: `${id} can't be rolled back: its signed manifest says no way to uninstall it` },
});

const details = {
  [firmware]: {
    ...patch(firmware, "HP EliteBook 840 G8 System BIOS", "1.18.0", {
      vendor: "hp",
      class: "driver",
      advisories: ["HPSBHF04043"],
      cves: [{ id: "CVE-2026-10234", fixed_in: "1.18.0" }],
      evidence: { verdict: "unproven", checks: [bulletinReason] },
    }),
    advisories: [
      {
        id: "HPSBHF04043",
        vendor: "hp",
        references: ["https://support.example.org/bios/sp151234", "javascript:alert(1)"],
      },
    ],
    vulnerabilities: [
      {
        id: "CVE-2026-10234",
        severity: "important",
        cvss: 7.9,
        epss: 0.004,
        description: "A local user may run code in SMM.",
      },
    ],
    needed_by: [
      { id: "pc7", hostname: "pc7" },
      { id: "pc8", hostname: "pc8" },
    ],
  },
  [sevenZip]: {
    ...patch(sevenZip, "7-Zip", "24.08", {
      cves: [{ id: "CVE-2026-11477", fixed_in: "24.08" }],
      items: [
        {
          k: "arp",
          n: "7-Zip",
          v: "24.08",
          a: "amd64",
          p: { sha256: "aa".repeat(32), size: 1_589_510, name: "7z.exe" },
        },
      ],
    }),
    approval: "approved",
    approvals: [
      {
        id: "a1",
        tenant: "main",
        patch: sevenZip,
        decision: "approve",
        by: "ada",
        at: ago(300),
        reason: "tested on pc7",
      },
    ],
    vulnerabilities: [{ id: "CVE-2026-11477", severity: "important", cvss: 7.8, epss: 0.03 }],
    rollback: { possible: true, restores: { id: before, product: "7-Zip", version: "23.01" } },
  },
  [before]: patch(before, "7-Zip", "23.01"),
  [plugin]: patch(plugin, "Archiver", "3.1"),
  [php]: patch(php, "php8.2", "8.2.29-1~deb12u1", { vendor: "debian", platform: "debian-12-amd64", class: "security" }),
};

const row = (id, needed) => {
  const { patch: p, vulnerabilities } = details[id];
  return {
    id,
    product: p.product,
    version: p.version,
    platform: p.platform,
    class: p.class,
    severity: p.severity,
    released: p.released,
    advisories: p.advisories ?? [],
    cves: vulnerabilities.length,
    exploited: false,
    needed_by: needed,
    bulletin: p.evidence.verdict === "unproven",
    approval: details[id].approval,
  };
};

const patches = [row(php, 0), row(firmware, 2), row(before, 0), row(sevenZip, 0)];

const holders = [
  { id: "pc7", hostname: "pc7", online: true, certain: true },
  { id: "pc8", hostname: "pc8", online: false, certain: true },
  { id: "pc9", hostname: "pc9", online: true, certain: true, required_by: [plugin] },
  { id: "pc10", hostname: "pc10", online: true, certain: false },
];

const deployment = {
  id: "d-9",
  tenant: "main",
  name: "november",
  created: ago(40),
  created_by: "ada",
  patches: [sevenZip, php],
  rings: [{ name: "all", endpoints: ["pc7", "web1"], gate: {} }],
  schedule: {},
  policy: {},
  status: "running",
  counts: { verified: 1, failed: 1 },
  reversible: [sevenZip],
};

const task = (id, of, endpoint, state, more) => ({
  id,
  deployment: of,
  tenant: "main",
  endpoint,
  hostname: endpoint,
  ring: 0,
  patches: [{ id: sevenZip, digest: "00" }],
  state,
  attempt: 1,
  created: ago(40),
  since: ago(2),
  ...more,
});

const tasks = [
  task("t-1", "d-9", "pc7", "verified", {
    reason: "a fresh scan shows it",
    result: {
      attempt: 1,
      started: ago(30),
      exit_code: 0,
      changes: [{ package: "7-Zip", from: "23.01", to: "24.08", why: "approved" }],
    },
  }),
  task("t-2", "d-9", "web1", "failed", {
    reason: "nothing can be installed",
    patches: [{ id: php, digest: "00" }],
    plan: {
      changes: [],
      payloads: [],
      download_bytes: 0,
      refused: [{ patch: php, reason: "php8.2-fpm is held by the machine's administrator" }],
    },
  }),
];

// A rollback goes one step further each time it is looked at.
const course = ["planning", "installing", "verified"];
let looked = 0;

function rolledBack() {
  const state = course[Math.min(looked, course.length - 1)];
  return {
    ...deployment,
    id: "d-10",
    name: "",
    operation: "rollback",
    cause: "breaks the archive job",
    patches: [sevenZip],
    rings: [{ name: "all", endpoints: ["pc7"], gate: {} }],
    status: state === "verified" ? "finished" : "running",
    counts: { [state]: 1 },
    reversible: undefined,
  };
}

const tokenRow = {
  id: "tk-1",
  tenant: "main",
  site: "berlin",
  uses: 50,
  used: 12,
  by: "ada",
  note: "rack 4",
  created: ago(600),
  expires: ago(-600),
};

/** The answer to a request; nothing for what is not made up. */
export function answers(url, method) {
  const path = decodeURIComponent(url.pathname).replace("/api/v1/", "").replace("tenants/main/", "");
  const query = Object.fromEntries(url.searchParams);
  if (method === "POST") {
    if (path !== "deployments") return undefined;
    looked = 0;
    return { ...rolledBack(), left_out: { [`of ${sevenZip}, not there in this version`]: 1 } };
  }
  const fits = (f) =>
    (!query.host || f.endpoint === query.host) &&
    (!query.patch || f.patch === query.patch) &&
    (!query.standing || f.standing === query.standing);
  const [, id, part] = /^(?:hosts|patches)\/([^/]+)(?:\/(\w+))?$/.exec(path) ?? [];
  if (path.startsWith("hosts/")) {
    const h = hosts.find((one) => one.id === id);
    if (part === "packages") return list([]);
    if (part === "tasks") return list(tasks.filter((t) => t.endpoint === id && (!query.left_out || t.plan?.refused)));
    return h && { ...h, inventory: inventory(id) };
  }
  if (path.startsWith("patches/")) return part === "holders" ? list(id === sevenZip ? holders : []) : details[id];
  if (path === "deployments/d-10/tasks") {
    const state = course[Math.min(looked++, course.length - 1)];
    return list([task("t-3", "d-10", "pc7", state, { operation: "rollback", reason: `it is ${state}` })]);
  }
  const all = {
    me,
    audit: () => log(url.pathname.includes("/tenants/") ? "main" : "own", query),
    "audit/verify": whole,
    status,
    hosts: () => list(hosts.filter((h) => !query.with || h[query.with] > 0)),
    missing: () => list(missing.filter(fits)),
    patches: () => list(patches.filter((p) => !query.bulletin || p.bulletin)),
    deployments: () => list([deployment].filter((d) => !query.patch || d.patches.includes(query.patch))),
    "deployments/d-9": deployment,
    "deployments/d-9/tasks": () =>
      list(
        tasks.filter((t) => !query.left_out || t.plan?.refused?.some((r) => !query.patch || r.patch === query.patch)),
      ),
    "deployments/d-10": rolledBack,
    groups: list([]),
    tokens: list([
      tokenRow,
      { ...tokenRow, id: "tk-0", note: "", used: 1, uses: 1, created: ago(9000), expires: ago(800) },
    ]),
    sites: list([
      { id: "main", tenant: "main", name: "main" },
      { id: "berlin", tenant: "main", name: "Berlin", zone: "Europe/Berlin" },
    ]),
  };
  const answer = all[path];
  return typeof answer === "function" ? answer() : answer;
}
