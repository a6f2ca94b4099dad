// Runs Biome's program for this machine. The package @biomejs/biome, which
// would pick it, names programs for systems that not every registry carries,
// and then `npm ci` refuses the whole lock file.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";

const name = `@biomejs/cli-${process.platform}-${process.arch}/biome`;
let program;
try {
  program = createRequire(import.meta.url).resolve(name);
} catch {
  console.error(`biome: ${name} is not installed: formatting and lint are checked on Linux only`);
  process.exit(0);
}
process.exit(spawnSync(program, process.argv.slice(2), { stdio: "inherit" }).status ?? 1);
