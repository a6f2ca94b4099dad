import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// `npm run dev` shows the console with live reload and passes what is not a
// page on to a running server.
const server = process.env.FETTLE_URL ?? "http://127.0.0.1:8780";

export default defineConfig({
  plugins: [react()],
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
