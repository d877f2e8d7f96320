// Each kind that the network offers, through its form; nonsense into each form; and what comes from a network that means harm.

import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Page } from '@playwright/test';
import type { KindView } from '../src/lib/contract';
import { expect, here, look, test, type Network } from './network';

/** What to measure in the simulated Internet; a kind that is not named is tried on a host. */
const ASKED: Record<string, { target?: string; params?: Record<string, string> }> = {
  dns: { target: 'example.test', params: { server: '198.18.250.53', type: 'SOA' } },
};

async function names(network: Network): Promise<string[]> {
  return (await network.api<{ items: KindView[] }>('/api/v1/kinds')).items.map(({ info }) => info.name);
}

/** Opens all that a form hides. */
async function unfold(page: Page): Promise<void> {
  for (const more of await page.locator('form details:not([open]) > summary').filter({ hasText: 'more parameters' }).all()) await more.click();
}

async function submit(page: Page, network: Network, kind: string, target: string, from: string, params: Record<string, string> = {}): Promise<void> {
  await page.goto(`${network.url}/new?kind=${kind}&from=${encodeURIComponent(from)}`);
  await expect(page.getByLabel('Kind', { exact: true })).toHaveValue(kind);
  if (await page.locator('#targets').count()) await page.locator('#targets').fill(target);
  await unfold(page);
  for (const [name, value] of Object.entries(params)) {
    const field = page.locator(`[id="param-${name}"]`);
    if (await field.evaluate((one) => one.tagName === 'SELECT')) await field.selectOption(value);
    else await field.fill(value);
  }
  await page.getByRole('button', { name: 'Start' }).click();
  await expect(page).toHaveURL(/\/measurements\/\w+$/);
  await expect(page.getByTestId('state')).toHaveText('done');
  await expect(page.getByTestId('seen')).toHaveText('1');
  await expect(page.getByRole('region', { name: 'Results' }).getByText('ok', { exact: false }).first()).toBeVisible();
}

test('each kind is submitted through its form', async ({ signedIn: page, network }) => {
  const kinds = await names(network);
  expect(kinds).toEqual(expect.arrayContaining(['dns', 'multipath', 'ping', 'tcp', 'trace', 'udp']));
  for (const kind of kinds) {
    const { target = 'target000', params = {} } = ASKED[kind] ?? {};
    await submit(page, network, kind, target, 'ams1', params);
    if (kind === 'tcp' || kind === 'udp') await look(page, kind);
  }
});

test('nonsense is named where it stands, in each form', async ({ signedIn: page, network }) => {
  for (const kind of await names(network)) {
    await page.goto(`${network.url}/new?kind=${kind}&from=ams1`);
    await page.locator('#targets').fill('target000');
    await unfold(page);
    await expect(page.getByText(/packets at most|vantage point gave no quote/)).toBeVisible();
    // Numbers and durations can be told from nonsense by the page itself: every such field is named.
    for (const field of await page.locator('input[id^=param-]').all()) await field.fill('¿nonsense?');
    await expect(page.getByRole('button', { name: 'Start' })).toBeDisabled();
    const fields = await page.locator('input[id^=param-]').evaluateAll((all) => all.map((field) => ({
      id: field.id,
      isNumber: field.getAttribute('inputmode') === 'numeric',
      isNamed: field.getAttribute('aria-invalid') === 'true' && document.getElementById(`${field.id}-help`)?.querySelector('[role=alert]')?.textContent !== '',
    })));
    expect(fields.filter(({ isNumber, isNamed }) => isNumber && !isNamed), kind).toEqual([]);
    expect(fields.filter(({ isNamed }) => isNamed).length, `${kind} has fields that can be wrong`).toBeGreaterThan(0);
    for (const field of await page.locator('input[id^=param-]').all()) await field.fill('');
    // The deadline and the selection are of every form.
    await page.locator('#deadline').fill('soon');
    await expect(page.locator('#deadline-help').getByRole('alert')).toContainText('a duration has its unit');
    await page.locator('#deadline').fill('');
    await page.getByLabel('From', { exact: true }).fill('colour:red');
    await expect(page.locator('#from-help').getByRole('alert')).toContainText('there is no field');
    await page.getByLabel('From', { exact: true }).fill('ams1');
    await page.locator('#targets').fill('');
    await expect(page.getByRole('button', { name: 'Start' })).toBeDisabled();
  }
});

test('a form is filled in and sent with the keyboard alone', async ({ signedIn: page }) => {
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to the content' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('main')).toBeFocused();
  const link = page.getByRole('navigation').getByRole('link', { name: 'New measurement' });
  for (let at = 0; at < 12 && !(await link.evaluate((one) => one === document.activeElement)); at += 1) await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'New measurement' })).toBeVisible();
  const reach = async (id: string) => {
    for (let at = 0; at < 40; at += 1) {
      if (await page.evaluate((id) => document.activeElement?.id === id, id)) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`${id} is not reached by Tab`);
  };
  await reach('targets');
  await page.keyboard.type('target000');
  await reach('from');
  await page.keyboard.type('ams1');
  await expect(page.getByText(/packets at most/)).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/measurements\/\w+$/);
  await expect(page.getByTestId('state')).toHaveText('done');
});

test.describe('on this machine', () => {
  const harm = '<img src=x onerror="document.title=\'harmed\'">';

  test('what servers say is text', async ({ browser }) => {
    const web = createServer((_, response) => {
      response.writeHead(200, harm, { Server: harm, 'X-Powered-By': `<script>document.title='harmed'</script>`, 'Content-Type': 'text/html' });
      response.end(`<title>${harm}</title>${harm}`);
    });
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    const dns = createSocket('udp4');
    dns.on('message', (query, { port, address }) => dns.send(txtAnswer(query, harm), port, address));
    await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve));
    const { network, end } = await here();
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(await network.link());
      await expect(page.getByRole('heading', { name: /Overview/ })).toBeVisible();
      const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/${encodeURIComponent(harm)}`;
      await submit(page, network, 'http', url, 'all');
      await expect(page.getByRole('img', { name: /first byte/ })).toHaveCount(1);
      await page.getByText('Headers').first().click();
      await expect(page.getByText(harm).first()).toBeVisible();
      await look(page, 'http');
      await submit(page, network, 'dns', 'harm.test', 'all', { server: `127.0.0.1:${dns.address().port}`, type: 'TXT' });
      await expect(page.getByText(harm).first()).toBeVisible();
      await expect(page.locator('main img, main script')).toHaveCount(0);
      expect(await page.title()).toBe('mmn');
    } finally {
      await context.close();
      await end();
      dns.close();
      web.close();
    }
  });

  test('a module that is killed is seen lost, and back; it is drained and restarted', async ({ browser }) => {
    const { network, end } = await here();
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(await network.link());
      const events = page.getByRole('list', { name: 'Events' });
      await expect(page.getByRole('link', { name: 'ping', exact: true })).toBeVisible();
      network.signalModule('packet', 'SIGKILL');
      await expect(events.getByText('module-lost').first()).toBeVisible();
      // The newest stands first: it is back when that is told above its loss.
      const told = async () => (await events.getByRole('listitem').allTextContents()).findIndex((text) => /module-(joined|healthy|lost)/.test(text));
      await expect.poll(async () => events.getByRole('listitem').nth(await told()).textContent()).toMatch(/module-(joined|healthy)/);
      await page.getByRole('link', { name: 'Modules' }).click();
      await page.getByLabel('Filter').fill('packet');
      // Processes have a table of their own, without orders.
      const row = page.getByRole('row').filter({ hasText: 'packet', has: page.getByRole('button', { name: /^Drain/ }) });
      await expect(row.filter({ hasText: 'healthy' })).toHaveCount(1);
      await row.getByRole('button', { name: /^Drain/ }).click();
      await expect(page.getByRole('status').filter({ hasText: 'packet: Drain: the node has done it' })).toBeVisible();
      await expect(row.filter({ hasText: 'healthy' })).toHaveCount(0);
      await row.first().getByRole('button', { name: /^Restart/ }).click();
      await expect(page.getByRole('status').filter({ hasText: 'packet: Restart: the node has done it' })).toBeVisible();
      await expect(row.filter({ hasText: 'healthy' })).toHaveCount(1);
    } finally {
      await context.close();
      await end();
    }
  });
});

/** An answer to a question of DNS with one TXT record (RFC 1035, sections 4.1 and 3.3.14). */
function txtAnswer(query: Buffer, text: string): Buffer {
  let end = 12;
  while (query[end] !== 0) end += query[end]! + 1;
  const question = query.subarray(12, end + 5);
  const header = Buffer.from([query[0]!, query[1]!, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
  const data = Buffer.from(text);
  const record = Buffer.from([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, data.length + 1, data.length]);
  return Buffer.concat([header, question, record, data]);
}
