import { expect, look, test, type Network } from './network';

type Accepted = { id: string };
const measure = (network: Network, request: unknown, wait = true) =>
  network.api<Accepted>(`/api/v1/measurements${wait ? '?wait=30s' : ''}`, request);

test('a ping is made in the form, watched, and made again', async ({ signedIn: page, network }) => {
  await page.getByRole('navigation').getByRole('link', { name: 'New measurement' }).click();
  await expect(page.getByLabel('Kind', { exact: true })).toHaveValue('ping');
  await page.getByLabel('Targets').fill('target000\ntarget005');
  await page.getByLabel('From', { exact: true }).fill('continent:EU, as65299');
  await expect(page.getByText('matches nothing: as65299')).toBeVisible();
  await page.getByLabel('From', { exact: true }).fill('continent:EU');
  // Nonsense is named where it stands, before anything is sent.
  await page.getByLabel('count').fill('many');
  await expect(page.getByRole('alert')).toHaveText('a whole number is needed');
  await expect(page.getByRole('button', { name: 'Start' })).toBeDisabled();
  await page.getByLabel('count').fill('20');
  await page.getByLabel('interval').fill('50ms');
  await expect(page.getByText(/packets at most/)).toBeVisible();
  await expect(page.getByText(/^mmn run ping target000 target005/)).toContainText('--set count=20 --set interval=50ms');
  // Markup is a text like any other.
  await page.getByLabel('Label').fill('<img src=x onerror=alert(1)>');
  await expect(page.getByText(/packets at most/)).toBeVisible();
  await look(page, 'new-measurement');
  await page.getByRole('button', { name: 'Start' }).click();

  await expect(page).toHaveURL(/\/measurements\/\w+$/);
  await expect(page.getByText('<img src=x onerror=alert(1)>')).toBeVisible();
  await expect(page.getByTestId('state')).toHaveText('done');
  await expect(page.getByRole('status').first()).toHaveText('complete');
  const { ledger } = await network.api<{ ledger: { accepted: number; ok: number } }>(`/api/v1/measurements/${page.url().split('/').pop()}`);
  await expect(page.getByTestId('seen')).toHaveText(String(ledger.accepted));
  expect(ledger.ok).toBe(ledger.accepted);
  await expect(page.getByRole('heading', { name: 'Round-trip time' })).toBeVisible();
  await look(page, 'ping');

  await page.getByRole('button', { name: 'Run again' }).click();
  await expect(page.getByLabel('count')).toHaveValue('20');
  await expect(page.getByLabel('Targets')).toHaveValue('target000\ntarget005');
});

test('a measurement of many targets is named, and made again as far as the form takes it', async ({ signedIn: page, network }) => {
  const inputs = Array.from({ length: 10_050 }, (_, n) => `target${n}.test`);
  const { id } = await measure(network, { kind: 'ping', inputs, from: 'ams1' }, false);
  await page.goto(`${network.url}/measurements/${id}`);
  await expect(page.getByRole('heading', { name: 'ping target0.test, target1.test, target2.test and 10,047 more' })).toBeVisible();
  await page.getByRole('button', { name: 'Run again' }).click();
  await expect(page.getByText('50 more targets of that measurement did not fit here')).toBeVisible();
  expect((await page.getByLabel('Targets').inputValue()).split('\n')).toEqual(inputs.slice(0, 10_000));
});

test('the anchor names the field that only it can judge', async ({ signedIn: page, network }) => {
  await page.goto(`${network.url}/new?kind=ping&from=ams1`);
  await page.getByLabel('Targets').fill('target000');
  await page.getByLabel('count').fill('5000');
  await expect(page.getByText(/refused|4096/i).first()).toBeVisible();
});

test('results go on where a cut stream stopped', async ({ signedIn: page, network }) => {
  const cuts: (() => void)[] = [];
  await page.routeWebSocket(/stream$/, (socket) => {
    socket.connectToServer();
    cuts.push(() => void socket.close());
  });
  const params = { count: 60, interval: '100ms' };
  const { id } = await measure(network, { kind: 'ping', inputs: ['target000'], from: 'all', params }, false);
  const short = { kind: 'ping', inputs: Array.from({ length: 40 }, (_, n) => `198.18.16.${n + 1}`), from: '5 of (all)', params: { count: 2, interval: '20ms', timeout: '300ms' } };
  const { id: second } = await measure(network, short, false);
  await page.goto(`${network.url}/measurements/${second}`);
  await expect(page.getByTestId('seen')).toBeVisible();
  cuts.at(-1)!();
  await expect(page.getByTestId('state')).toHaveText('done');
  await expect(page.getByTestId('seen')).toHaveText('200');
  await expect(page.getByRole('status').first()).toHaveText('complete');

  // Called off from its page, with all accounted for.
  await page.goto(`${network.url}/measurements/${id}`);
  await expect(page.getByTestId('state')).toHaveText('running');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.getByTestId('state')).toHaveText('cancelled');
  await expect(page.getByRole('img', { name: 'Ledger: 24 cancelled' })).toBeVisible();
});

test('traces are a graph that goes through time, and a table of hops', async ({ signedIn: page, network }) => {
  const { id } = await network.api<Accepted>('/api/v1/measurements', { kind: 'trace', open: true, from: 'continent:EU' });
  for (const part of [{ inputs: ['target005'] }, { inputs: ['target005'] }]) {
    await network.api(`/api/v1/measurements/${id}/inputs`, part);
    await expect.poll(async () => (await network.api<{ ledger: { pending: number } }>(`/api/v1/measurements/${id}`)).ledger.pending).toBe(0);
  }
  await network.api(`/api/v1/measurements/${id}/close`, {});
  await page.goto(`${network.url}/measurements/${id}`);
  await expect(page.getByRole('columnheader', { name: 'Hop' })).toBeVisible();
  await expect(page.getByText(/hops, reached/)).toBeVisible();
  const graph = page.getByRole('region', { name: 'Paths' }).getByRole('img');
  await expect(graph).toHaveAccessibleName(/^5 paths from 5 vantage points, 5 of them reached the target/);
  await look(page, 'trace');
  // At the first instant those had begun that were first, at the last all have come a second time.
  const scrubber = page.getByRole('slider');
  await scrubber.focus();
  await scrubber.press('Home');
  await expect(page.getByText(/^\(1\/\d+\)$/)).toBeVisible();
  await expect(graph).toHaveAccessibleName(/^[1-5] paths? from/);
  await scrubber.press('End');
  await expect(graph).toHaveAccessibleName(/^5 paths from 5 vantage points/);
  await expect(page.getByText(/^\((\d+)\/\1\)$/)).toBeVisible();
  await page.getByRole('button', { name: 'Newest' }).click();
  await expect(page.getByRole('button', { name: 'Newest' })).toBeDisabled();
});

test('a long history is drawn from sums, with the newest results beside it', async ({ signedIn: page, network }) => {
  const inputs = Array.from({ length: 100 }, (_, n) => `198.18.16.${n + 1}`);
  const { id } = await measure(network, { kind: 'ping', inputs, from: 'all', params: { count: 1, timeout: '300ms' } });
  let sums = 0;
  page.on('request', (request) => void (sums += request.url().includes('merge=1') ? 1 : 0));
  await page.goto(`${network.url}/measurements/${id}`);
  await expect(page.getByTestId('seen')).toHaveText('the newest 500 of 2,400 results');
  await expect(page.getByText('the plots are of the anchor’s sums')).toBeVisible();
  await expect(page.locator('figure canvas')).toBeVisible();
  const rows = page.getByRole('region', { name: 'By vantage point' });
  await expect(rows.getByRole('row').filter({ hasText: 'ams1' })).toContainText('100');
  await expect(page.getByRole('status').first()).toHaveText('complete');
  await look(page, 'history');
  expect(sums, 'what is over is read once').toBe(1);
});

test('answers of DNS are grouped', async ({ signedIn: page, network }) => {
  const dns = await measure(network, { kind: 'dns', inputs: ['example.test'], params: { server: '198.18.250.53', type: 'SOA' }, from: 'all' });
  await page.goto(`${network.url}/measurements/${dns.id}`);
  await expect(page.getByRole('heading', { name: /Answers by difference/ })).toBeVisible();
  await look(page, 'dns');
});

test('the branches of a multipath trace are drawn, its numbers read', async ({ signedIn: page, network }) => {
  const { id } = await measure(network, { kind: 'multipath', inputs: ['target005'], from: 'ams1' });
  await page.goto(`${network.url}/measurements/${id}`);
  await expect(page.getByRole('columnheader', { name: 'diamonds' })).toBeVisible();
  await expect(page.getByRole('region', { name: 'Paths' }).getByRole('img')).toHaveAccessibleName(/^1 path from 1 vantage point, 1 of them reached/);
  await look(page, 'multipath');
});

test('a public measurement is seen by everybody, a private one is not', async ({ browser, network }) => {
  const request = { kind: 'ping', inputs: ['target000'], from: 'ams1', params: { count: 2, interval: '20ms' } };
  const open = await measure(network, { ...request, visibility: 'public' });
  const closed = await measure(network, request);
  // Its link is what the button copies; a fresh browser opens it.
  const own = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
  const owner = await own.newPage();
  await owner.goto(await network.link());
  await expect(owner.getByRole('heading', { name: /Overview/ })).toBeVisible();
  await owner.goto(`${network.url}/measurements/${open.id}`);
  await owner.getByRole('button', { name: 'Copy link' }).click();
  const link = await owner.evaluate(() => navigator.clipboard.readText());
  await own.close();
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(link);
  await expect(page.getByTestId('seen')).toHaveText('1');
  await expect(page.getByRole('button', { name: 'Cancel' })).toHaveCount(0);
  await page.goto(`${network.url}/measurements/${closed.id}`);
  await expect(page.getByText('it is not yours to see')).toBeVisible();
  await context.close();
});
