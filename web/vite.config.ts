import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { compress } from './build/compress.ts';
import { land } from './build/land.ts';

/** `npm run dev` shows the dashboard of this network. */
const anchor = process.env['MMN_API'] ?? 'http://127.0.0.1:8677';

export default defineConfig({
  plugins: [svelte(), land(), compress()],
  build: {
    outDir: new URL('dist/site', import.meta.url).pathname,
    emptyOutDir: true,
    // The policy of the page lets it load files of its origin alone, no data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2023',
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': { target: anchor, ws: true }, '/metrics': anchor } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
