import { defineConfig } from "vite";

// Relative addresses, so that it can be served from any path; no inline script or style, so that
// `script-src 'self'; style-src 'self'` holds.
export default defineConfig({
  base: "./",
  // For `npm run dev -w dashboard`: a running service answers.
  server: { proxy: { "/v1": "http://127.0.0.1:8081", "/privacy": "http://127.0.0.1:8081" } },
  build: {
    target: "es2022",
    cssTarget: ["chrome125", "firefox128", "safari17.5"],
    outDir: "dist",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // Names without a hash: the binary embeds the files by name, and answers with an ETag.
    rollupOptions: {
      output: { entryFileNames: "assets/[name].js", chunkFileNames: "assets/[name].js", assetFileNames: "assets/[name][extname]" },
    },
  },
});
