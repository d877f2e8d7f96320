// What anybody may see, of a network whose operator says so.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, look, start, test, LAB } from './network';

test('a public page tells what the network is, and shows how it is doing', async ({ browser }) => {
  const dir = mkdtempSync(join(tmpdir(), 'mmn-web-public-'));
  const config = join(dir, 'anchor.toml');
  writeFileSync(config, '[api]\npublic_title = "The <i>Example</i> network"\npublic_about = "For those who ask.\\nAnd for others."\npublic_contact = "noc@example.net"\n');
  const { network, end } = await start([...LAB, '--public', '--anchor-config', config]);
  const context = await browser.newContext();
  try {
    const ping = { kind: 'ping', inputs: ['target000'], from: 'continent:EU', params: { count: 2, interval: '20ms' } };
    await network.api('/api/v1/measurements?wait=20s', { ...ping, visibility: 'public', label: '<b>shown</b>' });
    await network.api('/api/v1/measurements?wait=20s', { ...ping, label: 'kept to ourselves' });
    const page = await context.newPage();
    await page.goto(network.url);
    await expect(page.getByRole('heading', { name: 'The <i>Example</i> network' })).toBeVisible();
    await expect(page.getByText('For those who ask. And for others.')).toBeVisible();
    await expect(page.getByText('noc@example.net')).toBeVisible();
    await expect(page.getByText(/^24 vantage points in \d+ countries and \d+ networks/)).toBeVisible();
    const processes = page.getByRole('region', { name: 'Processes' });
    await expect(processes.getByRole('row').filter({ hasText: 'Anchor' })).toContainText(/\d %.*\d [kMG]?B/);
    await expect(processes.getByRole('row').filter({ hasText: 'NATS server' })).toContainText(/\d %.*\d [kMG]?B/);
    await expect(page.getByRole('img', { name: /^Ledger: \d+ ok/ }).first()).toBeVisible();
    await expect(page.getByText('<b>shown</b>')).toBeVisible();
    await expect(page.getByText('kept to ourselves')).toHaveCount(0);
    await expect(page.getByText('ams1')).toHaveCount(0);
    await look(page, 'public');
    await page.getByRole('link', { name: 'ping' }).click();
    await expect(page.getByTestId('seen')).toHaveText('5');
    await page.goto(network.url);
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.getByLabel('API token').fill(network.token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await expect(page.getByRole('heading', { name: /Overview/ })).toBeVisible();
  } finally {
    await context.close();
    await end();
    rmSync(dir, { recursive: true, force: true });
  }
});
