import { expect, look, test } from './network';

test('a link signs in once, and the code leaves the address', async ({ page, context, browser, network }) => {
  const link = await network.link();
  await page.goto(link);
  await expect(page.getByRole('heading', { name: /Overview/ })).toBeVisible();
  expect(page.url()).toBe(`${network.url}/`);
  const cookie = (await context.cookies()).find(({ name }) => name.startsWith('mmn_session_'));
  expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict', path: '/' });

  const other = await browser.newPage();
  await other.goto(link);
  await expect(other.getByRole('alert')).toContainText('the code is not taken');
  await other.close();

  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByLabel('API token')).toBeVisible();
  // There is no public page behind it.
  const status = await fetch(`${network.url}/api/v1/status`);
  expect([status.status, ((await status.json()) as { type: string }).type]).toEqual([404, '/problems/no-public-page']);
  expect((await context.cookies()).filter(({ name }) => name.startsWith('mmn_session_'))).toEqual([]);
});

test('a token signs in, and nonsense does not', async ({ page, network }) => {
  await page.goto(`${network.url}/vps`);
  await page.getByLabel('API token').fill('nonsense');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toContainText('the token is not taken');
  await look(page, 'sign-in');
  await page.getByLabel('API token').fill(network.token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('heading', { name: 'Vantage points' })).toBeVisible();
});

test('the page is guarded, compressed and kept', async ({ network }) => {
  const page = await fetch(network.url, { headers: { Accept: 'text/html' } });
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(page.headers.get('x-content-type-options')).toBe('nosniff');
  const script = /src="(\/assets\/[^"]+)"/.exec(await page.text())![1]!;
  const asked = await fetch(network.url + script, { headers: { 'Accept-Encoding': 'br' } });
  expect([asked.headers.get('content-encoding'), asked.headers.get('cache-control')]).toEqual(['br', 'public, max-age=31536000, immutable']);
  const again = await fetch(network.url + script, { headers: { 'Accept-Encoding': 'br', 'If-None-Match': asked.headers.get('etag')! } });
  expect(again.status).toBe(304);
});
