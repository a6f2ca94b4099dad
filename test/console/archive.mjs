// A signed package archive on loopback that has newer versions of packages
// which every Debian machine has, so that this machine surely lacks some: a
// fresh one lacks nothing of its own sources.
import { execFileSync } from "node:child_process";
import { chmodSync, createReadStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";

/** Suites by what they are for, with the packages that get a newer version there. */
const suites = [
  { suffix: "", label: "Debian", packages: ["tar", "hostname"] },
  { suffix: "-security", label: "Debian-Security", packages: ["gzip", "bash"] },
];

/** Makes the archive and serves it; apt follows it, and nothing else, with the environment that this gives. */
export async function archive() {
  const dir = mkdtempSync(join(tmpdir(), "fettle-console-archive-"));
  chmodSync(dir, 0o755); // apt's own user reads it
  const run = (program, args, options = {}) =>
    execFileSync(program, args, { encoding: "utf8", cwd: dir, stdio: ["pipe", "pipe", "pipe"], ...options });
  const arch = run("dpkg", ["--print-architecture"]).trim();
  const system = readFileSync("/etc/os-release", "utf8");
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(system)[1];
  const version = /^VERSION_ID="?([^"]*)"?$/m.exec(system)[1];

  const home = join(dir, "keys");
  mkdirSync(home, { mode: 0o700 });
  const gpg = (args, options) => run("gpg", ["--homedir", home, "--batch", "--quiet", ...args], options);
  gpg(["--passphrase", "", "--quick-generate-key", "Console Archive", "ed25519", "sign", "never"]);
  writeFileSync(join(dir, "key.asc"), gpg(["--armor", "--export"]));

  for (const { suffix, label, packages } of suites) {
    const suite = codename + suffix;
    const dist = `dists/${suite}`;
    const index = `${dist}/main/binary-${arch}`;
    mkdirSync(join(dir, index), { recursive: true });
    for (const name of packages) {
      const installed = run("dpkg-query", ["--show", name]).trim().split("\t")[1];
      const root = join(dir, "build", name);
      mkdirSync(join(root, "DEBIAN"), { recursive: true });
      writeFileSync(
        join(root, "DEBIAN/control"),
        `Package: ${name}\nVersion: ${installed}+console1\nArchitecture: ${arch}\nMaintainer: Console <console@example.org>\nDescription: newer ${name}\n`,
      );
      mkdirSync(join(dir, "pool", suite), { recursive: true });
      run("dpkg-deb", ["--root-owner-group", "--build", root, join(dir, "pool", suite, `${name}.deb`)]);
    }
    writeFileSync(join(dir, index, "Packages"), run("apt-ftparchive", ["packages", `pool/${suite}`]));
    const fields = {
      Origin: "Debian",
      Label: label,
      Suite: suite,
      Version: version,
      Codename: suite,
      Components: "main",
      Architectures: arch,
    };
    const options = Object.entries(fields).flatMap(([k, v]) => ["-o", `APT::FTPArchive::Release::${k}=${v}`]);
    const release = run("apt-ftparchive", [...options, "release", dist]);
    writeFileSync(join(dir, dist, "InRelease"), gpg(["--clearsign"], { input: release }));
  }

  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    const file = createReadStream(join(dir, path));
    file.once("error", () => response.writeHead(404).end());
    file.once("open", () => file.pipe(response));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const at = `http://127.0.0.1:${server.address().port}`;
  const lines = suites.map(
    ({ suffix }) => `deb [arch=${arch} signed-by=${join(dir, "key.asc")}] ${at} ${codename}${suffix} main\n`,
  );
  writeFileSync(join(dir, "sources.list"), lines.join(""));
  mkdirSync(join(dir, "parts"));
  writeFileSync(
    join(dir, "apt.conf"),
    `Dir::Etc::SourceList "${join(dir, "sources.list")}";\nDir::Etc::SourceParts "${join(dir, "parts")}";\nAcquire::http::Proxy::127.0.0.1 "DIRECT";\n`,
  );
  return {
    env: { APT_CONFIG: join(dir, "apt.conf") },
    end: () => {
      server.closeAllConnections();
      server.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
