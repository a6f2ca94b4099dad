// What the API would answer about a Windows machine, made up.
import { admin, ago, list, standing } from "./made.mjs";

const sevenZip = "winget:7zip.7zip:24.08:amd64:exe";
const cumulative = "microsoft:windows-10-22h2-amd64:KB5036892";

const me = admin(["read", "approve_patch", "run_deploy"]);

const status = standing(
  [
    { platform: "windows-10-22h2-amd64", patches: 310, advisories: 2900, cves: 4100 },
    { platform: "windows-apps-amd64", patches: 9200, advisories: 120, cves: 800 },
  ],
  { endpoints: 1, online: 1, missing_security: 1, missing: 3, patches: 3, exploited: 1 },
);

const host = {
  id: "pc7",
  tenant: "main",
  site: "main",
  hostname: "pc7",
  platform: "windows-10-22h2-amd64",
  os: "Windows 10 Enterprise",
  state: "active",
  enrolled: ago(9000),
  last_seen: ago(3),
  agent_version: "0.2.0",
  addresses: ["10.0.3.7"],
  health: "highly_vulnerable",
  missing: 3,
  missing_security: 2,
  exploited: 1,
  bulletins: 0,
  user_only: 1,
  broken: 0,
  online: true,
  reboot_due: true,
};

const inventory = {
  scanned: ago(4),
  os: {
    family: "windows",
    id: "windows-10",
    version: "22h2",
    name: "Windows 10 Enterprise",
    edition: "Enterprise",
    codename: "22H2",
    build: "10.0.19045.4291",
    arch: "amd64",
    hostname: "pc7",
  },
  state: {
    reboot_due: true,
    reboot_reasons: ["Component Based Servicing"],
    running_kernel: "",
    newest_kernel: "",
    boot_id: "b",
    boot_time: ago(4000),
  },
  hardware: { vendor: "LENOVO", model: "20XW004AGE", cores: 8, memory_mib: 16104 },
  network: {},
  policy: {},
  packages: 5,
};

const finding = (more) => ({
  endpoint: "pc7",
  hostname: "pc7",
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

const missing = [
  finding({
    patch: cumulative,
    product: "Windows 10 22H2",
    kind: "msu",
    package: "Windows 10 22H2",
    installed: "10.0.19045.4291",
    available: "10.0.19045.4355",
    severity: "critical",
    exploited: true,
    advisories: ["KB5036892"],
    cves: ["CVE-2024-26234", "CVE-2024-29988"],
    epss: 0.41,
    reason: "2024-04 Cumulative Update for Windows 10 22H2 applies and is not installed: build 10.0.19045.4291",
    evidence: [{ test: "OS build", want: "ge 10.0.19045.4355", found: "10.0.19045.4291", value: "false" }],
    archive: "microsoft",
  }),
  finding({
    patch: sevenZip,
    product: "7-Zip",
    kind: "arp",
    package: "{23170F69-40C1-2702-2408-000001000000}",
    arch: "amd64",
    installed: "23.01",
    available: "24.08",
    cves: ["CVE-2024-11477"],
    epss: 0.03,
    approval: "approved",
    reason: "7-Zip 23.01 is installed; 24.08 is in the catalog",
    evidence: [
      { test: "package arp {23170F69-40C1-2702-2408-000001000000}", want: "lt 24.08", found: "23.01", value: "true" },
    ],
  }),
  finding({
    patch: "winget:Contoso.Notes:2.1:amd64:msi:user",
    product: "Notes",
    kind: "arp",
    package: "Notes",
    installed: "2.0",
    available: "2.1",
    security: false,
    severity: "unknown",
    state: "user_only",
    standing: "user_only",
    reason: "Notes 2.0 is installed for PC7\\ada alone; 2.1 is in the catalog",
  }),
];

const software = [
  {
    k: "arp",
    n: "{23170F69-40C1-2702-2408-000001000000}",
    a: "amd64",
    v: "23.01",
    t: "7-Zip 23.01 (x64 edition)",
    p: "Igor Pavlov",
  },
  { k: "arp", n: "Contoso Billing", a: "386", v: "4.7.11", t: "Contoso Billing", p: "Contoso Ltd" },
  { k: "arp", n: "Notes", v: "2.0", t: "Notes", p: "Contoso Ltd", sc: "user:PC7\\ada" },
  { k: "kb", n: "KB5034127", v: "" },
  { k: "kb", n: "KB5036608", v: "" },
];

const deployment = {
  id: "d-1",
  tenant: "main",
  name: "april",
  created: ago(200),
  created_by: "ada",
  patches: [sevenZip, cumulative],
  rings: [{ name: "all", endpoints: ["pc7"], gate: {} }],
  schedule: {},
  policy: {},
  status: "finished",
  counts: { verified: 1 },
  reversible: [sevenZip],
};

const rollback = {
  ...deployment,
  id: "d-2",
  name: "",
  created: ago(1),
  operation: "rollback",
  cause: "breaks the archive job",
  patches: [sevenZip],
  reversible: undefined,
};

const task = (of, patches, change) => ({
  id: `t-${of}`,
  deployment: of,
  tenant: "main",
  endpoint: "pc7",
  hostname: "pc7",
  ring: 0,
  patches: patches.map((id) => ({ id, digest: "00" })),
  state: "verified",
  reason: "a fresh scan shows it",
  attempt: 1,
  created: ago(200),
  since: ago(180),
  result: { attempt: 1, started: ago(190), exit_code: 0, changes: [change] },
});

const tasks = {
  "d-1": [task("d-1", [sevenZip, cumulative], { package: "7-Zip", from: "23.01", to: "24.08", why: "approved" })],
  "d-2": [
    {
      ...task("d-2", [sevenZip], { package: "7-Zip", from: "24.08", to: "23.01", why: "rolled back" }),
      operation: "rollback",
    },
  ],
};

/** The answer to a request; nothing for what is not made up. */
export function answers(url, method) {
  const path = url.pathname.replace("/api/v1/", "").replace("tenants/main/", "");
  if (method === "POST") return path === "deployments" ? rollback : undefined;
  const kind = url.searchParams.get("kind");
  const all = {
    me,
    status,
    hosts: list([host]),
    "hosts/pc7/tasks": list(tasks["d-1"]),
    "hosts/pc7": { ...host, inventory },
    "hosts/pc7/packages": list(software.filter((p) => !kind || p.k === kind)),
    missing: list(missing),
    deployments: list([rollback, deployment]),
    "deployments/d-1": deployment,
    "deployments/d-1/tasks": list(tasks["d-1"]),
    "deployments/d-2": rollback,
    "deployments/d-2/tasks": list(tasks["d-2"]),
    groups: list([]),
  };
  return all[path];
}
