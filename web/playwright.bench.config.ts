// The figures of the dashboard: see `bench/web.bench.ts`. Nothing else runs beside a measurement, and nothing is tried twice.

import { defineConfig } from '@playwright/test';

export default defineConfig({
  testDir: 'bench',
  testMatch: '*.bench.ts',
  outputDir: 'test-results/bench',
  workers: 1,
  timeout: 120_000,
  expect: { timeout: 30_000 },
  reporter: [['line']],
});
