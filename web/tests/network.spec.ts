import { expect, look, test } from './network';

test('the overview shows the network', async ({ signedIn: page, network }) => {
  const map = page.getByRole('group', { name: 'Vantage points on a map' });
  await expect(map.getByRole('link')).toHaveCount(24);
  await expect(page.getByText('simulated').first()).toBeVisible();
  await network.api('/api/v1/measurements?wait=20s', { kind: 'ping', inputs: ['target000'], from: 'all', params: { count: 2, interval: '20ms' } });
  await expect(page.getByRole('img', { name: /^Ledger: .*ok/ }).first()).toBeVisible();
  await expect(page.getByText('measurement-done').first()).toBeVisible();
  await expect(page.getByRole('link', { name: /^ping #/ }).first()).toBeVisible();
  await look(page, 'overview');
  // Whoever comes later sees what happened before, each thing once.
  const events = page.getByRole('list', { name: 'Events' }).getByRole('listitem');
  await page.reload();
  await expect(events.filter({ hasText: 'measurement-done' }).first()).toBeVisible();
  const before = await events.count();
  await page.getByRole('navigation').getByRole('link', { name: 'Modules' }).click();
  await page.getByRole('navigation').getByRole('link', { name: 'Overview' }).click();
  await network.api('/api/v1/measurements?wait=20s', { kind: 'ping', inputs: ['target000'], from: 'ams1', params: { count: 1 } });
  await expect(events.first()).toContainText('1 ok of 1');
  await expect(events).toHaveCount(Math.min(200, before + 2));
});

test('vantage points are found by the grammar of selections', async ({ signedIn: page, network }) => {
  await page.getByRole('link', { name: 'Vantage points', exact: true }).click();
  await expect(page.getByText('24 vantage points')).toBeVisible();
  // Nothing is read here that is not shown.
  const asked: string[] = [];
  page.on('request', (request) => void asked.push(new URL(request.url()).pathname));
  const select = page.getByLabel('Selection');
  await select.fill('continent:EU, !ams1');
  await expect(page.getByText(/^\d of 24 vantage points$/)).toBeVisible();
  await expect(page.getByRole('link', { name: 'ams1' })).toHaveCount(0);
  await expect(page).toHaveURL(/select=continent/);
  await look(page, 'vantage-points');
  expect(asked.filter((path) => /(modules|kinds|metrics)$/.test(path))).toEqual([]);
  await select.fill('germany, colour:red');
  await expect(page.getByRole('alert')).toContainText('there is no field');
  await select.fill('tag:fibre');
  await page.getByRole('link', { name: 'ams1' }).click();
  await expect(page.getByRole('heading', { name: /ams1/ })).toBeVisible();
  await expect(page.getByText('198.18.0.3')).toBeVisible();
  // What it does now stands before what it did.
  const { id } = await network.api<{ id: string }>('/api/v1/measurements', { kind: 'ping', open: true, from: 'ams1' });
  await network.api('/api/v1/measurements?wait=20s', { kind: 'ping', inputs: ['target000'], from: 'ams1', params: { count: 1 } });
  const work = page.getByRole('region', { name: 'Measurements' }).getByRole('row');
  await expect(work.nth(1)).toContainText('open');
  await expect(work.nth(2)).toContainText('done');
  await expect(page.getByText(/packets a second over all modules/)).toBeVisible();
  await expect(page.getByRole('img', { name: /of the time that was seen|nobody saw/ })).toBeVisible();
  await look(page, 'vantage-point');
  await network.api(`/api/v1/measurements/${id}/close`, {});
});

test('modules are shown, and take orders', async ({ signedIn: page }) => {
  await page.getByRole('link', { name: 'Modules' }).click();
  await page.getByLabel('Filter').fill('ams1 ping');
  const row = page.getByRole('row').filter({ hasText: 'ams1' });
  await expect(row).toHaveCount(1);
  await expect(row).toContainText('healthy');
  await look(page, 'modules');
  await row.getByRole('button', { name: /^Restart/ }).click();
  await expect(page.getByRole('status').filter({ hasText: 'Restart' })).toBeVisible();
});

test('what stops is seen lost, and back', async ({ signedIn: page, network }) => {
  const health = (name: string) => page.getByRole('region', { name: /^Vantage points/ }).getByText(name, { exact: true });
  await expect(health('healthy')).toBeVisible();
  await expect(page.getByText('vp-joined').first()).toBeVisible();
  await expect(page.getByText('vp-lost')).toHaveCount(0);
  network.signalNode('SIGSTOP');
  try {
    await expect(health('lost')).toBeVisible();
    await expect(health('healthy')).toHaveCount(0);
    await expect(page.getByText('vp-lost').first()).toBeVisible();
  } finally {
    network.signalNode('SIGCONT');
  }
  await expect(health('healthy')).toBeVisible();
  await expect(health('lost')).toHaveCount(0);
});

test('an address that is no page says so', async ({ signedIn: page, network }) => {
  await page.goto(`${network.url}/nowhere`);
  await expect(page.getByText('There is no such page')).toBeVisible();
});
