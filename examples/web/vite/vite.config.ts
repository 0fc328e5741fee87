// `cargo xtask demo` serves the functions and the relay; in development Vite passes requests for them on.

import { defineConfig } from "vite";

const relay = "http://127.0.0.1:8080";

export default defineConfig({
  // The runtime finds its .wasm beside its script, from where Vite's pre-bundling would move the script away.
  optimizeDeps: { exclude: ["@faasm/runtime-web"] },
  build: { target: "es2022" },
  server: {
    proxy: {
      "/functions": { target: relay, changeOrigin: true },
      "/ws": { target: relay, changeOrigin: true, ws: true, rewriteWsOrigin: true },
    },
  },
});
