import { defineConfig } from "vite";

// Two builds of the same code: the script that a page includes, and the module that a bundler imports.
export default defineConfig(({ mode }) => {
  const script = mode !== "module";
  return {
    build: {
      target: "es2020",
      outDir: "dist",
      emptyOutDir: script,
      minify: script ? "terser" : false,
      terserOptions: {
        ecma: 2020,
        toplevel: true,
        compress: { passes: 4, unsafe_arrows: true, booleans_as_integers: true, pure_getters: true, drop_debugger: true },
        format: { comments: false },
      },
      lib: script
        ? { entry: "src/script.ts", formats: ["iife"], name: "_", fileName: () => "quorate.js" }
        : { entry: "src/index.ts", formats: ["es"], fileName: () => "index.js" },
      rollupOptions: { output: { extend: false, strict: false } },
    },
  };
});
