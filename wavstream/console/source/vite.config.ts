// Builds the page into ../static. The same sources and package-lock.json give the same bytes: `.ci/run` compares them.
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    // Files only: data: in a style would need a wider policy.
    assetsInlineLimit: 0,
    // What the page is allowed to weigh is tested by tests/acceptance/test_console_page.py.
    reportCompressedSize: false,
  },
});
