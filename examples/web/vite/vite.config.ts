// `cargo xtask demo` serves the functions and the relay; in development, Vite proxies requests to it.

import { defineConfig } from "vite";

const relay = "http://127.0.0.1:8080";

export default defineConfig({
  // The runtime loads its .wasm from beside its script, which Vite's pre-bundling would move.
  optimizeDeps: { exclude: ["@faasm/runtime-web"] },
  build: { target: "es2022" },
  server: {
    proxy: {
      "/functions": { target: relay, changeOrigin: true },
      "/ws": { target: relay, changeOrigin: true, ws: true, rewriteWsOrigin: true },
    },
  },
});
