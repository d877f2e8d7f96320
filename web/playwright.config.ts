// The dashboard in Debian's Chromium, against a whole network of this build with a simulated Internet in it. `scripts/check-web.sh`
// runs it.

import { defineConfig } from '@playwright/test';

export default defineConfig({
  testDir: 'tests',
  outputDir: 'test-results/run',
  // Each worker has a network of its own, which serves the tests of a file in their order.
  workers: 2,
  timeout: 90_000,
  expect: { timeout: 20_000 },
  reporter: [['list']],
  use: {
    launchOptions: { executablePath: process.env['MMN_CHROMIUM'] ?? '/usr/bin/chromium', args: ['--disable-gpu'] },
    viewport: { width: 1360, height: 900 },
    timezoneId: 'Europe/Berlin',
    locale: 'en-GB',
    trace: 'retain-on-failure',
  },
});
