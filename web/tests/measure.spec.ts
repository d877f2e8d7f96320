import { expect, look, start, test, type Network } from './network';

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

test('traces have a table of hops, and answers of DNS are grouped', async ({ signedIn: page, network }) => {
  const trace = await measure(network, { kind: 'trace', inputs: ['target005'], from: 'continent:EU' });
  await page.goto(`${network.url}/measurements/${trace.id}`);
  await expect(page.getByRole('columnheader', { name: 'Hop' })).toBeVisible();
  await expect(page.getByText(/hops, reached/)).toBeVisible();
  await look(page, 'trace');
  const dns = await measure(network, { kind: 'dns', inputs: ['example.test'], params: { server: '198.18.250.53', type: 'SOA' }, from: 'all' });
  await page.goto(`${network.url}/measurements/${dns.id}`);
  await expect(page.getByRole('heading', { name: /Answers by difference/ })).toBeVisible();
  await look(page, 'dns');
});

test('a kind without a view of its own is readable', async ({ signedIn: page, network }) => {
  const { id } = await measure(network, { kind: 'multipath', inputs: ['target005'], from: 'ams1' });
  await page.goto(`${network.url}/measurements/${id}`);
  await expect(page.getByRole('columnheader', { name: 'diamonds' })).toBeVisible();
  await look(page, 'multipath');
});

test('a public measurement is seen by everybody, a private one is not', async ({ browser, network }) => {
  const request = { kind: 'ping', inputs: ['target000'], from: 'ams1', params: { count: 2, interval: '20ms' } };
  const open = await measure(network, { ...request, visibility: 'public' });
  const closed = await measure(network, request);
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${network.url}/measurements/${open.id}`);
  await expect(page.getByTestId('seen')).toHaveText('1');
  await expect(page.getByRole('button', { name: 'Cancel' })).toHaveCount(0);
  await page.goto(`${network.url}/measurements/${closed.id}`);
  await expect(page.getByText('it is not yours to see')).toBeVisible();
  await context.close();
});

test('exchanges of HTTP fall through their phases', async ({ browser }) => {
  // The simulated Internet has no HTTP in a process of its own; this machine has the network's API.
  const { network, end } = await start(false);
  const context = await browser.newContext();
  try {
    const { id } = await measure(network, { kind: 'http', inputs: [`${network.url}/healthz`, `${network.url}/problems/timeout`] });
    const page = await context.newPage();
    await page.goto(await network.link());
    await expect(page.getByRole('heading', { name: /Overview/ })).toBeVisible();
    await page.goto(`${network.url}/measurements/${id}`);
    await expect(page.getByRole('img', { name: /connect .*first byte/ })).toHaveCount(2);
    await look(page, 'http');
  } finally {
    await context.close();
    await end();
  }
});
