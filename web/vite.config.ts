import { readFileSync } from "node:fs";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

// `npm run dev` shows the console with live reload and passes what is not a
// page on to a running server.
const server = process.env.FETTLE_URL ?? "http://127.0.0.1:8780";

/** Refuses a build that uses a component of Mantine without its styles. */
function mantineStyles(): Plugin {
  const classes = (text: string) => new Set(text.match(/\bm_[0-9a-f]{6,8}\b/g));
  return {
    name: "mantine-styles",
    generateBundle(_, bundle) {
      const all = Object.values(bundle);
      const code = all.map((f) => (f.type === "chunk" ? f.code : "")).join("\n");
      const css = all
        .map((f) => (f.type === "asset" && f.fileName.endsWith(".css") ? String(f.source) : ""))
        .join("\n");
      const whole = classes(readFileSync("node_modules/@mantine/core/styles.css", "utf8"));
      const missing = [...classes(code)].filter((c) => whole.has(c) && !classes(css).has(c));
      if (missing.length > 0) this.error(`src/look/mantine.ts lacks the styles of ${missing.join(", ")}`);
    },
  };
}

export default defineConfig({
  plugins: [react(), mantineStyles()],
  server: { proxy: { "/api": { target: server, changeOrigin: true }, "/openapi.yaml": server } },
  build: {
    // public/.keep is copied along, so that git's view of dist stays clean.
    emptyOutDir: true,
    chunkSizeWarningLimit: 700,
    rolldownOptions: {
      onLog(level, log, print) {
        // Mantine marks its modules "use client" for React servers; there is none here.
        if (log.code === "MODULE_LEVEL_DIRECTIVE") return;
        print(level, log);
      },
    },
  },
  // Tests that need a page say so in their first line.
  test: { environment: "node" },
});
