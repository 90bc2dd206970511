// Builds one of the applications, `shop` or `operations`, or the page at `/`, `start`. Nothing may name the place that it is served from.
import { defineConfig } from 'vite';

export default defineConfig(({ mode }) => ({
  root: `web/${mode}`,
  base: './',
  // The page at `/` has its files beside the shop's.
  ...(mode === 'start' && { experimental: { renderBuiltUrl: (file) => `shop/start/${file}` } }),
  logLevel: 'warn',
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
  define: { 'process.env.NODE_ENV': '"production"' },
  build: {
    target: 'es2022',
    emptyOutDir: true,
    // Everything in files: the policy of the pages allows nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
}));
